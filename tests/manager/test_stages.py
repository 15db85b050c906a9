"""What the tuner and the trial agree on."""

import json
import re

import pytest

from nni_magic.manager.stages import Task

TASKS = [
    {"stage": "supernet"},
    {"stage": "supernet", "baselines": ["bert", "random_1"]},
    {"stage": "search", "generation": 3},
    {"stage": "search", "generation": 3, "child": 7, "children": 20},
    {"stage": "retrain", "rank": 1},
    {"stage": "retrain", "baseline": "bert"},
]


@pytest.mark.parametrize("parameters", TASKS, ids=str)
def test_task_travels_as_json(parameters):
    task = Task.parse(json.loads(json.dumps(parameters)))
    assert task.parameters() == parameters


@pytest.mark.parametrize("parameters", TASKS, ids=str)
def test_tries_of_the_same_work_are_the_same_task(parameters):
    first = Task.parse(parameters)
    second = first.parameters(attempt=2)
    assert second == {**parameters, "attempt": 2}
    assert Task.parse(second) == first
    assert len({Task.parse(second), first}) == 1


def test_supernet_is_the_same_task_whatever_is_trained_beside_it():
    told = Task.parse({"stage": "supernet", "baselines": ["bert"]})
    assert {told} == {Task(stage="supernet")}


def test_names_tell_tasks_apart():
    names = [str(Task.parse(parameters)) for parameters in TASKS]
    assert names == [
        "supernet", "supernet", "search, generation 3", "search, generation 3, child 7",
        "retrain, rank 1", "retrain, baseline bert",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        None,
        [],
        "supernet",
        {"stage": "train"},
        {"stage": ["supernet"]},
        {"stage": None},
        {"generation": 1},
        {"stage": "supernet", "rank": 1},
        {"stage": "supernet", "baselines": "bert"},
        {"stage": "supernet", "baselines": [1]},
        {"stage": "search"},
        {"stage": "search", "child": 1},
        {"stage": "search", "generation": 1, "child": 1},
        {"stage": "search", "generation": 0},
        {"stage": "search", "generation": True},
        {"stage": "search", "generation": "1"},
        {"stage": "search", "generation": 1, "child": 1.0, "children": 3},
        {"stage": "search", "generation": 1, "child": 4, "children": 3},
        {"stage": "retrain"},
        {"stage": "retrain", "rank": 1, "baseline": "bert"},
        {"stage": "retrain", "baseline": 1},
        {"block_1": "conv"},
    ],
    ids=str,
)
def test_other_parameters_are_not_a_task(parameters):
    message = f"parameters are {parameters!r}; accepted are those that MagicTuner gives"
    with pytest.raises(ValueError, match=re.escape(message)):
        Task.parse(parameters)
