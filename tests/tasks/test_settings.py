"""Settings that every task has."""

import dataclasses

import pytest

from nni_magic.strategies.settings import SupernetSettings
from nni_magic.tasks.settings import Scoring, TaskSettings, Training


def test_settings_are_frozen_and_checked_again_when_one_is_replaced():
    settings = TaskSettings()
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign to field 'epochs'"):
        settings.epochs = 3
    with pytest.raises(ValueError, match="epochs is 0; accepted are whole numbers of at least 1"):
        dataclasses.replace(settings, epochs=0)


def test_score_of_a_child_has_the_defaults_of_the_strategies():
    ours, theirs = dataclasses.asdict(Scoring()), dataclasses.asdict(SupernetSettings())
    assert ours == {name: theirs[name] for name in ours}


def test_warm_up_may_take_the_whole_training():
    settings = Training(epoch_steps=4, warmup_steps=8)
    settings.check_warmup(epochs=2)
    message = "warmup_steps is 8; accepted are 0 to 4, because retrain_epochs is 1 and epoch_steps"
    with pytest.raises(ValueError, match=message):
        settings.check_warmup(retrain_epochs=1)


@pytest.mark.parametrize("value", [float("inf"), float("nan"), 0.0, -1.0, True, "fast", None])
def test_learning_rate_is_a_finite_number_above_0(value):
    message = f"learning_rate is {value!r}; accepted are finite numbers above 0"
    with pytest.raises(ValueError, match=message):
        Training(learning_rate=value)


@pytest.mark.parametrize("name", ["threads", "workers", "calibration_batches"])
def test_count_may_be_0_and_no_less(name):
    TaskSettings(**{name: 0})
    with pytest.raises(ValueError, match=f"{name} is -1; accepted are whole numbers of at least 0"):
        TaskSettings(**{name: -1})
