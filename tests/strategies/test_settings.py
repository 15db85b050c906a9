"""Settings of strategies: checked when they are made, frozen, with every default once."""

from dataclasses import FrozenInstanceError, fields, replace

import pytest

from nni_magic.strategies.registry import METHODS
from nni_magic.strategies.settings import (
    AlignmentSettings,
    AverageAlignmentSettings,
    GradualSettings,
    MagicASettings,
    MagicATSettings,
    PercentileAnchorSettings,
    SupernetSettings,
)


@pytest.mark.parametrize("row", METHODS.values(), ids=METHODS)
def test_settings_are_frozen_and_have_defaults(row):
    settings = row.settings()
    with pytest.raises(FrozenInstanceError, match="seed"):
        settings.seed = 1
    assert replace(settings, seed=1).seed == 1
    assert {field.name for field in fields(settings)} == set(row.options)


@pytest.mark.parametrize("row", METHODS.values(), ids=METHODS)
def test_every_setting_is_described(row):
    described = "".join(kind.__doc__ for kind in row.settings.__mro__ if kind is not object)
    assert [name for name in row.options if f"\n    {name}\n" not in described] == []


def test_magic_at_has_the_settings_of_both():
    names = {kind: {field.name for field in fields(kind)} for kind in (
        GradualSettings, MagicASettings, MagicATSettings)}  # fmt: skip
    assert names[MagicATSettings] == names[GradualSettings] | names[MagicASettings]


@pytest.mark.parametrize(("kind", "given", "message"), [
    (SupernetSettings, {"mode": "best"}, "mode is 'best'; accepted are 'min', 'max'"),
    (SupernetSettings, {"validation_batches": 0}, "validation_batches is 0; .* at least 1"),
    (SupernetSettings, {"calibration_batches": -1}, "calibration_batches is -1; .* at least 0"),
    (SupernetSettings, {"validation_children": 1.5}, "validation_children is 1.5; .* whole"),
    (GradualSettings, {"k": 0}, "k is 0; accepted are whole numbers of at least 1"),
    (GradualSettings, {"k": True}, "k is True; accepted are whole numbers of at least 1"),
    (GradualSettings, {"walks": 0}, "walks is 0; accepted are whole numbers of at least 1"),
    (AlignmentSettings, {"alignment_weight": -0.5}, "alignment_weight is -0.5; .* at least 0"),
    (AlignmentSettings, {"align_every": 0}, "align_every is 0; .* at least 1"),
    (AlignmentSettings, {"warmup_epochs": -1}, "warmup_epochs is -1; .* at least 0"),
    (MagicASettings, {"anchor_interval": 0}, "anchor_interval is 0; .* at least 1"),
    (MagicASettings, {"anchor_candidates": 0}, "anchor_candidates is 0; .* at least 1"),
    (MagicATSettings, {"k": "two"}, "k is 'two'; accepted are whole numbers of at least 1"),
    (MagicATSettings, {"anchor_interval": 0}, "anchor_interval is 0; .* at least 1"),
    (AverageAlignmentSettings, {"n_children": 0}, "n_children is 0; .* at least 1"),
    (PercentileAnchorSettings, {"percentile": 101}, "percentile is 101; .* from 0 to 100"),
    (PercentileAnchorSettings, {"tolerance": -1}, "tolerance is -1; .* from 0 to 100"),
    (PercentileAnchorSettings, {"anchor_candidates": 0}, "anchor_candidates is 0; .* at least 1"),
])  # fmt: skip
def test_what_cannot_be_is_refused(kind, given, message):
    with pytest.raises(ValueError, match=message):
        kind(**given)
    with pytest.raises(ValueError, match=message):
        replace(kind(), **given)
