"""Samplers that take their children from another one."""

import itertools
from functools import partial

import pytest
from spaces import FlatSpace
from walks import differing, flat, walk

from nni_magic.samplers import GradualSampler, UniformSampler
from nni_magic.samplers.composed import ComposedSampler
from nni_magic.samplers.fair import FairSampler
from nni_magic.supernet.step import Step, Turn


class Pairs(ComposedSampler):
    def turns(self, probe):
        return [Turn(self.next()), Turn(self.next())]


ORDERS = [UniformSampler, partial(GradualSampler, k=1)]


@pytest.mark.parametrize("order", ORDERS)
def test_children_are_those_of_the_other_sampler(order):
    sampler, alone = Pairs(FlatSpace(), seed=4, order=order), order(FlatSpace(), seed=4)
    for _ in range(5):
        assert [turn.child for turn in sampler.turns(None)] == [alone.next(), alone.next()]
        assert sampler.current == alone.current
    sampler.reset(5)
    alone.reset(5)
    assert walk(sampler, 5) == walk(alone, 5)


def test_walk_may_be_the_order():
    sampler = Pairs(flat(4, 3), seed=0, order=partial(GradualSampler, k=1))
    children = walk(sampler, 20)
    assert all(len(differing(a, b)) == 1 for a, b in itertools.pairwise(children))


@pytest.mark.parametrize("order", ORDERS)
def test_goes_on_from_its_state(order):
    sampler, again = (Pairs(flat(4, 3), seed=seed, order=order) for seed in (0, 1))
    walk(sampler, 5)
    again.load_state_dict(sampler.state_dict())
    assert walk(again, 5) == walk(sampler, 5)


@pytest.mark.parametrize("order", ORDERS)
def test_deletions_and_filters_hold_for_the_other_sampler(order):
    sampler = Pairs(flat(4, 3), seed=0, order=order, filter=lambda sample: sample["d"] > 0)
    walk(sampler, 5)
    sampler.restrict({"a": [2], "b": [0, 1]})
    assert sampler.current == sampler.inner.current
    assert sampler.current["a"] == 2
    for child in walk(sampler, 30):
        assert child["a"] == 2 and child["b"] < 2 and child["d"] > 0


def test_other_sampler_is_told_and_may_watch_gradients():
    class Learning(UniformSampler):
        watches_gradients = True

        def tell(self, step):
            self.told = step

        def end(self, probe):
            self.ended = probe

    sampler, step = Pairs(FlatSpace(), seed=0, order=Learning), Step([])
    sampler.tell(step)
    sampler.end(probe := object())
    assert sampler.watches_gradients
    assert sampler.inner.told is step and sampler.inner.ended is probe


def test_order_that_chooses_the_children_of_a_whole_step_is_refused():
    """One by one FairNAS's children are plain uniform ones."""
    with pytest.raises(ValueError, match="order makes a FairSampler, which chooses the children "):
        Pairs(FlatSpace(), seed=0, order=FairSampler)
