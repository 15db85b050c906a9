"""Settings of the programs: what is checked across concerns."""

import dataclasses
from pathlib import Path

import pytest
from reading import settings_of

from nni_magic.programs.settings import DemoSettings, ParetoSettings
from nni_magic.tasks.settings import TaskSettings


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"generations": 0}, "generations is 0; accepted are whole numbers of at least 1"),
        ({"population": 0}, "population is 0; accepted are whole numbers from 1 to 10"),
        ({"cost": "time"}, "cost is 'time'; accepted are 'params', 'flops'"),
    ],
)
def test_wrong_setting_of_a_front_is_named(given, message):
    with pytest.raises(ValueError, match=message):
        ParetoSettings(task=TaskSettings(), checkpoint=Path("a"), output=Path("b"), **given)


@pytest.mark.parametrize("port", [-1, 65536, 80.0])
def test_port_is_one_of_the_machines(port):
    message = f"port is {port}; accepted are whole numbers from 0 to 65535"
    with pytest.raises(ValueError, match=message):
        DemoSettings(port=port)


def test_settings_are_checked_across_concerns_when_one_is_replaced():
    made = settings_of("train", "bert", "--strategy magic_t --retrain-epochs 1")
    with pytest.raises(ValueError, match="warmup_steps is 200; accepted are 0 to 100, because ret"):
        dataclasses.replace(made, task=dataclasses.replace(made.task, warmup_steps=200))
    wrong = dataclasses.replace(made.supernet, given={"k": 0})
    with pytest.raises(ValueError, match="k is 0; accepted are whole numbers of at least 1"):
        dataclasses.replace(made, supernet=wrong)
