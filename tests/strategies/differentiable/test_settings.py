"""Settings of the differentiable strategies: what is refused."""

import pytest

from nni_magic.strategies.differentiable.settings import DartsSettings, GaeaSettings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"base": "enas"}, "base is 'enas'; accepted are 'darts', 'gdas'"),
        ({"arc_learning_rate": 0}, "arc_learning_rate is 0; accepted are finite numbers above 0"),
        ({"arc_warmup_epochs": -1}, "arc_warmup_epochs is -1; accepted are whole numbers of at le"),
        ({"final_temperature": 0}, "final_temperature is 0; accepted are finite numbers above 0"),
        ({"temperature": 0}, "^temperature is 0; accepted are finite numbers above 0"),
        ({"temperature": 0.01}, "final_temperature is 0.1; accepted are .* which is 0.01"),
        ({"bilevel": 1}, "bilevel is 1; accepted are"),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises((ValueError, TypeError), match=message):
        GaeaSettings(**settings)


def test_darts_has_its_papers_rate():
    assert DartsSettings().arc_learning_rate == 3e-4
