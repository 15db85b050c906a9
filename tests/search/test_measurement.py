"""What is measured of a chain: every way of every step, on the states that it gets in a child."""

import pytest
import torch
from nni.nas.nn.pytorch import LayerChoice, ModelSpace
from torch import nn

from nni_magic.search import timing
from nni_magic.search.measurement import conditions, step_milliseconds
from nni_magic.supernet.hidden_states import Call

CPU = torch.device("cpu")


class Clock:
    """Seconds that pass only when a module lets them."""

    now = 0.0


class Takes(nn.Module):
    """Lets as many milliseconds pass as its input has rows, times a factor, and adds 1."""

    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, x):
        Clock.now += self.factor * len(x) / 1000
        return x + 1


class Widens(nn.Module):
    def forward(self, x):
        return torch.cat([x, x])


class Chain(ModelSpace):
    """A stem, one block and a head."""

    def __init__(self, **candidates):
        super().__init__()
        self.stem, self.last = Takes(1.0), Takes(2.0)
        self.layers = nn.ModuleList([LayerChoice(candidates, label="block")])

    def forward(self, x):
        return self.head(self.layers[0](self.stem(x)))

    def head(self, x):
        return self.last(x)


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    monkeypatch.setattr(timing, "perf_counter", lambda: Clock.now)


def test_every_way_of_every_step_has_its_time():
    space = Chain(slow=Takes(5.0), fast=Takes(0.5))
    measured = step_milliseconds(space, Call((torch.zeros(4, 2),), {}), CPU, repeats=3)
    assert [choices for choices, _ in measured] == [{}, {"block": ["slow", "fast"]}, {}]
    for (_, found), expected in zip(measured, [[4.0], [20.0, 2.0], [8.0]], strict=True):
        assert found == pytest.approx(expected)


def test_candidate_that_changes_the_shape_is_refused():
    space, call = Chain(plain=Takes(1.0), widens=Widens()), Call((torch.zeros(1, 3),), {})
    message = r"step 1 gives hidden states of shape \(2, 3\) with .*'widens'.*\(1, 3\) with"
    with pytest.raises(ValueError, match=message):
        step_milliseconds(space, call, CPU, repeats=1)


def test_conditions_are_those_that_a_time_depends_on():
    call = Call((torch.zeros(4, 2),), {"mask": torch.ones(4), "deep": True})
    found = conditions(call, CPU)
    assert found.pop("hardware")
    assert found.pop("versions")["torch"] == torch.__version__
    assert found == {
        "device": "cpu", "threads": torch.get_num_threads(), "inputs": [[4, 2], [4]],
    }  # fmt: skip
