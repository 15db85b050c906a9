"""Times on a clock that only the tasks move, and example inputs."""

import pytest
import torch

from nni_magic.search import timing
from nni_magic.search.timing import example_call, fresh, median_milliseconds
from nni_magic.supernet.hidden_states import Call

CPU = torch.device("cpu")


class Clock:
    """Seconds that pass only when a task lets them, and the order of what happened."""

    def __init__(self):
        self.now = 0.0
        self.happened = []

    def task(self, name, milliseconds):
        """A task whose runs take these times one after the other; to prepare takes a second."""
        times = iter(milliseconds)

        def run():
            self.happened.append(name)
            self.now += next(times) / 1000

        def prepare():
            self.now += 1
            return run

        return prepare


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(timing, "perf_counter", lambda: clock.now)
    return clock


def test_time_is_the_median_of_every_second_run(clock):
    times = [900, 3.0, 900, 1.0, 900, 8.0]
    assert median_milliseconds([clock.task("a", times)], CPU, repeats=3) == [pytest.approx(3.0)]


def test_tasks_take_turns(clock):
    tasks = [clock.task("a", [1.0] * 4), clock.task("b", [2.0] * 4)]
    assert median_milliseconds(tasks, CPU, repeats=2) == pytest.approx([1.0, 2.0])
    assert "".join(clock.happened) == "aabbaabb"


def test_example_is_repeated_to_the_batch_and_other_values_stay():
    rows = torch.tensor([[1], [2]])
    call = example_call((rows, "mode", {"mask": rows[:1]}), 5, CPU)
    assert call.args[0].flatten().tolist() == [1, 2, 1, 2, 1]
    assert call.args[1] == "mode"
    assert call.kwargs["mask"].flatten().tolist() == [1] * 5


@pytest.mark.parametrize("example", [torch.ones(3, 2), (torch.ones(3, 2),), [torch.ones(3, 2)]])
def test_tensor_alone_and_sequences_are_positional_inputs(example):
    call = example_call(example, 2, CPU)
    assert [tuple(value.shape) for value in call.args] == [(2, 2)]
    assert call.kwargs == {}


@pytest.mark.parametrize("example", [torch.zeros(0, 3), torch.tensor(1.0)])
def test_example_without_a_row_is_refused(example):
    shape = str(tuple(example.shape)).replace("(", r"\(").replace(")", r"\)")
    message = f"an example input has shape {shape}; accepted are .* at least one row"
    with pytest.raises(ValueError, match=message):
        example_call(example, 1, CPU)


def test_fresh_copies_tensors_wherever_they_are():
    state = {"a": [torch.zeros(2), 3], "b": torch.ones(1)}
    copy = fresh(state)
    copy["a"][0].add_(1)
    assert state["a"][0].tolist() == [0, 0] and copy["a"][1] == 3
    call = Call((torch.zeros(2),), {"mask": torch.ones(2)})
    copied = fresh(call)
    copied.args[0].add_(1)
    copied.kwargs["mask"].add_(1)
    assert call.args[0].tolist() == [0, 0] and call.kwargs["mask"].tolist() == [1, 1]
