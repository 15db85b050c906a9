"""The largest child alone, then the sandwich."""

from types import SimpleNamespace

import pytest
from spaces import SizedSpace

from nni_magic.samplers.delayed import DelayedSampler
from nni_magic.supernet.parameters import parameter_cost


def delayed(**more):
    space = SizedSpace(n_blocks=4)
    return DelayedSampler(space, seed=0, cost=parameter_cost(space), **more)


@pytest.mark.parametrize(
    ("progress", "n_turns"), [(0.0, 1), (0.29, 1), (0.3, 4), (0.5, 4), (0.99, 4)]
)
def test_children_by_the_share_of_the_training(progress, n_turns):
    sampler = delayed(delay=0.3)
    turns = sampler.turns(SimpleNamespace(progress=progress))
    assert len(turns) == n_turns
    assert sampler.current == turns[-1].child
    assert (turns[0].child, turns[0].weight) == (dict.fromkeys(turns[0].child, "linear"), 1.0)


@pytest.mark.parametrize("delay", [-0.1, 1.0])
def test_delay_leaves_something_to_the_others(delay):
    with pytest.raises(ValueError, match=f"delay is {delay}; accepted are"):
        delayed(delay=delay)
