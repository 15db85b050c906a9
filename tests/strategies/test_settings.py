"""Settings of the strategies: defaults that stand once, ranges, and what is refused."""

import dataclasses
import inspect
import json

import numpy as np
import pytest

from nni_magic.strategies.base import SupernetStrategy
from nni_magic.strategies.by_cost import ByCost
from nni_magic.strategies.registry import METHODS, method
from nni_magic.strategies.settings import MagicASettings, MagicATSettings, SupernetSettings

# As documented; a change here is a change for every user.
EVERY = {
    "seed": None, "metric": None, "mode": None, "validation_batches": 4, "calibration_batches": 4,
    "not_finite": "stop",
}
COMMON = {**EVERY, "validation_children": 8}
MIXTURE = {**EVERY, "arc_learning_rate": 0.1, "bilevel": True, "arc_warmup_epochs": 0}  # fmt: skip
WALK = {"k": 1, "lazy": False, "walks": 1}
ALIGNED = {
    "alignment_weight": 0.5, "alignment_error": "cosine", "align_every": None,
    "aligned_layers": None,
    "mask_argument": "attention_mask", "warmup_epochs": None,
}  # fmt: skip
TURNS = {"turn_by_turn": False}
DISTILLED = {**TURNS, "n_random": 2, "mask_argument": "attention_mask"}
SANDWICH = {**DISTILLED, "temperature": 1.0}
BEST = {"anchor": None, "anchor_gradient": False, "anchor_interval": 100, "anchor_candidates": 16}
DEFAULTS = {
    "spos": COMMON,
    "magic_t": {**COMMON, **WALK},
    "magic_a": {**COMMON, **ALIGNED, **BEST},
    "magic_at": {**COMMON, **WALK, "walks": 4, **ALIGNED, **BEST},
    "fairnas": {**COMMON, **TURNS},
    "sandwich": {**COMMON, **SANDWICH},
    "alphanet": {
        **COMMON, **DISTILLED, "alpha_min": -1.0, "alpha_max": 1.0, "ratio_clip": 5.0,
    },
    "attentive_nas": {**COMMON, **SANDWICH, "draws": 3, "pick": "best_up"},
    "multi_architecture": {**COMMON, **TURNS, "children": 4},
    "delayed_shrinking": {**COMMON, **SANDWICH, "delay": 0.5, "epsilon": 0.1, "rise": 0.1},
    "shiftnas": {**COMMON, "cost_groups": 8, "shift_temperature": 0.1},
    "prenas": {**COMMON, "cost_groups": 8, "scored_children": 1000, "pool_share": 0.1},
    "pada": {**COMMON, "path_importance": True, "data_importance": True},
    "few_shot": {
        **COMMON, "parts": 2, "by": "order", "split_label": None, "split_after": 0.5,
        "split_children": 4,
    },
    "enas": {
        **COMMON, "controller_steps": 50, "controller_learning_rate": 1e-3, "entropy_weight": 1e-4,
    },
    "gaea": {
        **MIXTURE, "partial_channels": 4, "temperature": 10.0, "final_temperature": 0.1,
        "base": "darts",
    },
    "darts": {**MIXTURE, "arc_learning_rate": 3e-4},
    "pc_darts": {**MIXTURE, "arc_learning_rate": 6e-4, "partial_channels": 4},
    "darts_pt": {**MIXTURE, "arc_learning_rate": 3e-4, "tune_epochs": 5},
    "drop_nas": {**MIXTURE, "arc_learning_rate": 3e-4, "bilevel": False, "drop_rate": 3e-5},
    "proxyless_nas": {**MIXTURE, "arc_learning_rate": 1e-3},
    "gumbel_darts": {
        **MIXTURE, "arc_learning_rate": 3e-4, "temperature": 1.0, "final_temperature": 0.33,
        "hard": False,
    },
    "average_alignment": {**COMMON, **ALIGNED, "n_children": 6},
    "percentile_anchor": {
        **COMMON, **ALIGNED, "percentile": 0, "tolerance": 10, "anchor_candidates": 100,
    },
}  # fmt: skip
every_method = pytest.mark.parametrize("name", DEFAULTS)


def test_every_method_is_here():
    assert DEFAULTS.keys() == METHODS.keys()


@every_method
def test_defaults(name):
    assert dataclasses.asdict(method(name).settings()) == DEFAULTS[name]


@every_method
def test_signature_of_the_strategy_shows_them(name):
    parameters = inspect.signature(method(name).load()).parameters
    shown = {p.name: p.default for p in parameters.values()}
    assert DEFAULTS[name].items() <= shown.items()
    always = {"filter", "shrinking", "mutation_hooks", "terms"}
    extra = shown.keys() - DEFAULTS[name].keys()
    assert always <= extra <= always | {"score_children", "cost"}
    kinds = {p.kind for p in parameters.values() if p.name != "filter"}
    assert kinds == {inspect.Parameter.KEYWORD_ONLY}


@every_method
def test_unknown_setting_is_named_with_those_there_are(name):
    strategy = method(name).load()
    own = ["score_children"] if name == "percentile_anchor" else []
    own = ["cost"] if issubclass(strategy, ByCost) else own
    known = ["filter", "shrinking", "mutation_hooks", "terms", *own, *method(name).options]
    message = f"^{strategy.__name__} has no setting 'warmup'; accepted are {', '.join(known)}$"
    with pytest.raises(TypeError, match=message):
        strategy(warmup=3)


@every_method
def test_settings_are_frozen_and_by_name_alone(name):
    settings = method(name).settings()
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign to field 'seed'"):
        settings.seed = 1
    assert dataclasses.replace(settings, seed=1).seed == 1
    with pytest.raises(TypeError, match="takes 1 positional argument but 2 were given"):
        method(name).settings(1)


def test_strategy_keeps_the_settings_that_it_was_given():
    settings = MagicATSettings(seed=5, k=2, walks=3, anchor={"op": 1}, aligned_layers=[2, "head"])
    given = dataclasses.asdict(settings)
    assert method("magic_at").load()(**given).settings == settings


def test_strategy_of_a_user_shows_the_settings_of_its_own():
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class More(SupernetSettings):
        more: int = 7

    class Own(SupernetStrategy):
        settings_class = More

    assert inspect.signature(Own).parameters["more"].default == 7
    assert Own(seed=1, more=8).settings == More(seed=1, more=8)


COUNTS = [
    ("spos", "validation_batches", 1), ("spos", "calibration_batches", 0),
    ("spos", "validation_children", 1), ("magic_t", "k", 1), ("magic_t", "walks", 1),
    ("magic_a", "align_every", 1), ("magic_a", "warmup_epochs", 0),
    ("magic_a", "anchor_interval", 1), ("magic_a", "anchor_candidates", 1),
    ("average_alignment", "n_children", 1), ("percentile_anchor", "anchor_candidates", 1),
]  # fmt: skip


@pytest.mark.parametrize(("name", "setting", "least"), COUNTS)
def test_counts_are_whole_and_large_enough(name, setting, least):
    assert getattr(method(name).settings(**{setting: least}), setting) == least
    none = [] if getattr(method(name).settings(), setting) is None else [None]
    for wrong in (least - 1, 1.5, True, "2", *none):
        message = rf"^{setting} is {wrong!r}; accepted are whole numbers of at least {least}$"
        with pytest.raises(ValueError, match=message):
            method(name).settings(**{setting: wrong})


NUMBERS = [
    ("magic_a", "alignment_weight", (0, 0.5, 1e6), "finite numbers of at least 0"),
    ("percentile_anchor", "percentile", (0, 33.3, 100), "numbers from 0 to 100"),
    ("percentile_anchor", "tolerance", (0, 5, 100), "numbers from 0 to 100"),
]


@pytest.mark.parametrize(("name", "setting", "right", "accepted"), NUMBERS)
def test_numbers_are_finite_and_in_bounds(name, setting, right, accepted):
    for value in right:
        assert getattr(method(name).settings(**{setting: value}), setting) == value
    for wrong in (-0.1, float("nan"), float("inf"), True, "1"):
        with pytest.raises(ValueError, match=rf"^{setting} is {wrong!r}; accepted are {accepted}$"):
            method(name).settings(**{setting: wrong})


@every_method
def test_mode_is_one_of_two(name):
    with pytest.raises(ValueError, match=r"^mode is 'best'; accepted are 'min', 'max'$"):
        method(name).settings(mode="best")


def test_settings_of_both_are_checked_in_magic_at():
    with pytest.raises(ValueError, match="walks is 0"):
        MagicATSettings(walks=0)
    with pytest.raises(ValueError, match="anchor_interval is 0"):
        MagicATSettings(anchor_interval=0)
    assert issubclass(MagicATSettings, MagicASettings)


@pytest.mark.parametrize("row", METHODS.values(), ids=METHODS)
def test_every_setting_is_described(row):
    kinds = [kind for kind in row.settings.__mro__ if kind is not object]
    described = "\n".join(map(inspect.getdoc, kinds))
    assert [name for name in row.options if f"\n{name}\n" not in described] == []


@every_method
def test_mode_of_a_metric_whose_name_does_not_tell_is_asked_for_at_once(name):
    assert method(name).settings(metric="val_acc").mode is None
    assert method(name).settings(metric="reward", mode="max").mode == "max"
    with pytest.raises(ValueError, match=r"^mode is None; .* metric 'reward' does not tell which"):
        method(name).settings(metric="reward")


def test_numbers_of_numpy_are_kept_as_pythons_own():
    chosen = MagicATSettings(
        seed=np.int64(3), k=np.int32(2), alignment_weight=np.float32(0.5), lazy=np.bool_(True),
        aligned_layers=np.array([1, 2]), anchor={"block_1": np.str_("conv")},
        metric=np.str_("val_loss"), mode="min",
    )  # fmt: skip
    plain = MagicATSettings(
        seed=3, k=2, alignment_weight=0.5, lazy=True, aligned_layers=[1, 2],
        anchor={"block_1": "conv"}, metric="val_loss", mode="min",
    )  # fmt: skip
    assert repr(chosen) == repr(plain)
    assert json.loads(json.dumps(dataclasses.asdict(chosen))) == dataclasses.asdict(plain)
