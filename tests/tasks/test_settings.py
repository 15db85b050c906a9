"""Settings that every task has."""

import dataclasses
import re

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


def test_warm_up_adapts_to_the_training_unless_it_is_given():
    settings = Training(epoch_steps=5)
    settings.check_warmup(epochs=1)
    assert [settings.warmup_for(epochs) for epochs in (1, 79, 80, 1000)] == [1, 79, 80, 80]
    assert Training(epoch_steps=5, warmup_steps=3).warmup_for(1) == 3


@pytest.mark.parametrize("value", [float("inf"), float("nan"), 0.0, -1.0, True, "fast", None])
def test_learning_rate_is_a_finite_number_above_0(value):
    message = f"learning_rate is {value!r}; accepted are finite numbers above 0"
    with pytest.raises(ValueError, match=message):
        Training(learning_rate=value)


def test_count_may_be_0_and_no_less():
    TaskSettings(calibration_batches=0)
    message = "calibration_batches is -1; accepted are whole numbers of at least 0"
    with pytest.raises(ValueError, match=message):
        TaskSettings(calibration_batches=-1)


@pytest.mark.parametrize("name", ["threads", "workers"])
def test_count_of_what_runs_at_once_is_one_that_no_machine_crashes_on(name):
    TaskSettings(**{name: 0})
    TaskSettings(**{name: 1024})
    for wrong in (-1, 1_000_000):
        message = f"{name} is {wrong}; accepted are whole numbers from 0 to 1024"
        with pytest.raises(ValueError, match=message):
            TaskSettings(**{name: wrong})


@pytest.mark.parametrize("seed", [-1, 2**32, None, 0.0])
def test_seed_is_one_that_lightning_takes(seed):
    message = f"seed is {seed}; accepted are whole numbers from 0 to 4294967295"
    with pytest.raises(ValueError, match=message):
        TaskSettings(seed=seed)


@pytest.mark.parametrize("devices", ["auto", 1, 8, -1, "-1", "2", "0,1", "2,", "0,"])
def test_devices_are_as_lightning_takes_them(devices):
    assert TaskSettings(devices=devices).devices == devices


@pytest.mark.parametrize("devices", [0, -2, "0", "all", "", "0,,1", True, 1.0, None, [0]])
def test_devices_that_are_none_are_refused(devices):
    message = f"devices is {re.escape(repr(devices))}; accepted are 'auto', a number of devices"
    with pytest.raises(ValueError, match=message):
        TaskSettings(devices=devices)


@pytest.mark.parametrize("name", ["processes", "nodes"])
@pytest.mark.parametrize("value", [0, -1, 1.5, True, "2", 10**6])
def test_processes_and_nodes_are_counted(name, value):
    with pytest.raises(ValueError, match=f"{name} is .*; accepted are whole numbers from 1 to"):
        TaskSettings(**{name: value})


def test_every_setting_has_its_type():
    with pytest.raises(ValueError, match="sync_batchnorm is 1; accepted are true and false"):
        TaskSettings(sync_batchnorm=1)
    with pytest.raises(ValueError, match="cache is 'runs'; accepted are paths"):
        TaskSettings(cache="runs")
