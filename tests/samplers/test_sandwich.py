"""The sandwich rule: which children, against an enumeration."""

from functools import partial

import pytest
import torch
from nni.nas.profiler.pytorch.flops import FlopsProfiler
from spaces import ConvSpace, FlatSpace, SizedSpace
from walks import differing, every

from nni_magic.children.costs import CostSum, Summand, tabulated
from nni_magic.samplers import GradualSampler, UniformSampler
from nni_magic.samplers.sandwich import SandwichSampler
from nni_magic.supernet.parameters import parameter_cost


def sandwich(space=ConvSpace, cost=parameter_cost, **more):
    made = space()
    return SandwichSampler(made, **{"seed": 0, "cost": cost(made), **more})


def flops(space):
    return tabulated(FlopsProfiler(space, torch.zeros(1, 1, 8, 8)))


@pytest.mark.parametrize("cost", [parameter_cost, flops])
def test_first_two_are_the_extremes_of_the_cost_and_the_others_random(cost):
    sampler, alone = sandwich(cost=cost, n_random=3), UniformSampler(ConvSpace(), seed=0)
    costs = [sampler.cost(child) for child in every(sampler.candidates)]
    for _ in range(3):
        turns = sampler.turns(probe=None)
        assert [turn.weight for turn in turns] == [1.0, 0.0, 0.0, 0.0, 0.0]
        largest, smallest = (sampler.cost(turn.child) for turn in turns[:2])
        assert (largest, smallest) == (max(costs), min(costs))
        assert [turn.child for turn in turns[2:]] == [alone.next() for _ in range(3)]


def test_extremes_are_valid_and_of_candidates_that_are_left():
    sampler = sandwich(filter=lambda sample: list(sample.values()).count("skip") <= 1)
    sampler.restrict({"block_1": ["conv1", "skip"]})
    costs = [
        sampler.cost(child)
        for child in every(sampler.candidates)
        if list(child.values()).count("skip") <= 1
    ]
    largest, smallest = (turn.child for turn in sampler.turns(probe=None)[:2])
    assert sampler.allows(smallest)
    assert (sampler.cost(largest), sampler.cost(smallest)) == (max(costs), min(costs))


def test_random_children_may_be_those_of_a_walk():
    sampler = sandwich(order=partial(GradualSampler, k=1))
    first, second = (turn.child for turn in sampler.turns(probe=None)[2:])
    assert len(differing(first, second)) == 1


def test_last_child_is_a_random_one_unless_there_is_none():
    alone = sandwich(n_random=0)
    smallest = dict.fromkeys(("block_1", "block_2", "block_3", "block_4"), "skip")
    assert alone.turns(probe=None)[-1].child == alone.current == smallest
    sampler = sandwich()
    assert sampler.turns(probe=None)[-1].child == sampler.current == sampler.inner.current


def test_cost_that_does_not_tell_children_apart_is_refused():
    with pytest.raises(
        ValueError, match="cost of the largest child is 60, as of the smallest; acc"
    ):
        sandwich(FlatSpace)


def test_cost_of_another_space_is_refused():
    other = CostSum(0, [Summand({"kernel": [1, 3]}, lambda sample: sample["kernel"])])
    with pytest.raises(ValueError, match=r"depends on labels \['kernel'\], which the space does"):
        sandwich(SizedSpace, cost=lambda space: other)


def test_number_of_random_children_is_whole():
    with pytest.raises(
        ValueError, match="n_random is -1; accepted are whole numbers of at least 0"
    ):
        sandwich(n_random=-1)
