"""Two programs in turns."""

import functools
import os

import pytest

from experiments.benchmarks import turns

# Imported once, by the server that forks the processes.
in_turns = functools.partial(turns.in_turns, preload=[turns.__name__])


def log_turns(name, path, hand_over):
    for _ in range(3):
        with path.open("a") as log:
            log.write(name)
        hand_over()
    return name, os.getpid()


def fail(hand_over):
    hand_over()
    raise ValueError("no more paper")


def vanish(hand_over):
    os._exit(1)


@pytest.mark.parametrize(("first", "expected"), [
    pytest.param(0, "abbaab", marks=pytest.mark.slow), (1, "baabba"),
])  # fmt: skip
def test_tasks_run_alternately_in_processes_of_their_own(tmp_path, first, expected):
    path = tmp_path / "log"
    tasks = [functools.partial(log_turns, name, path) for name in "ab"]
    (a, first_process), (b, second_process) = in_turns(tasks, first=first)
    assert (a, b) == ("a", "b")
    assert len({first_process, second_process, os.getpid()}) == 3
    assert path.read_text() == expected


def go_on(hand_over):
    while True:
        hand_over()


@pytest.mark.parametrize(("task", "message"), [(fail, "no more paper"), (vanish, "without a word")])
def test_failure_of_a_task_is_told_and_ends_the_others(task, message):
    with pytest.raises(RuntimeError, match=message):
        in_turns([task, go_on])
