"""Settings of the differentiable strategies: what is refused."""

import pytest

from nni_magic.strategies.differentiable.settings import (
    DartsPTSettings,
    DartsSettings,
    DropNASSettings,
    GaeaSettings,
    GumbelDartsSettings,
)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"base": "enas"}, "base is 'enas'; accepted are 'darts', 'pc_darts', 'gdas'"),
        ({"arc_learning_rate": 0}, "arc_learning_rate is 0; accepted are finite numbers above 0"),
        ({"arc_warmup_epochs": -1}, "arc_warmup_epochs is -1; accepted are whole numbers of at le"),
        ({"final_temperature": 0}, "final_temperature is 0; accepted are finite numbers above 0"),
        ({"temperature": 0}, "^temperature is 0; accepted are finite numbers above 0"),
        ({"temperature": 0.01}, "final_temperature is 0.1; accepted are .* which is 0.01"),
        ({"bilevel": 1}, "bilevel is 1; accepted are"),
        ({"partial_channels": 0}, "partial_channels is 0; accepted are whole numbers of at least"),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises((ValueError, TypeError), match=message):
        GaeaSettings(**settings)


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (DartsPTSettings, {"tune_epochs": 0}, "tune_epochs is 0; accepted are whole numbers of at"),
        (DropNASSettings, {"drop_rate": 1.0}, "drop_rate is 1.0; accepted are finite numbers of"),
        (GumbelDartsSettings, {"hard": 1}, "hard is 1; accepted are"),
        (GumbelDartsSettings, {"temperature": 0.1}, "final_temperature is 0.33; accepted are"),
    ],
)
def test_settings_of_other_methods_out_of_range(kind, settings, message):
    with pytest.raises((ValueError, TypeError), match=message):
        kind(**settings)


def test_darts_has_its_papers_rate():
    assert DartsSettings().arc_learning_rate == 3e-4
