"""Strict fairness: every candidate once a step."""

from collections import Counter

import pytest
from nni.mutable import Categorical
from scipy.stats import chisquare
from spaces import ConstrainedSpace, ConvSpace, FlatSpace, NestedSpace
from walks import flat

from nni_magic.samplers.fair import FairSampler


def children(sampler):
    return [turn.child for turn in sampler.turns(probe=None)]


@pytest.mark.parametrize("space", [ConvSpace, lambda: FlatSpace(5, 3)])
def test_every_candidate_is_trained_exactly_once_a_step(space):
    sampler = FairSampler(space(), seed=0)
    for _ in range(20):
        turns = sampler.turns(probe=None)
        assert {(turn.weight, turn.rows, turn.part) for turn in turns} == {(1.0, None, None)}
        for label, choices in sampler.candidates.items():
            assert sorted(turn.child[label] for turn in turns) == sorted(choices)


def test_orders_of_blocks_are_uniform_and_independent():
    sampler = FairSampler(flat(2, 3), seed=1)
    pairs = Counter((child["a"], child["b"]) for _ in range(600) for child in children(sampler))
    assert len(pairs) == 9
    assert chisquare(list(pairs.values())).pvalue > 1e-3
    first = Counter(children(sampler)[0]["a"] for _ in range(600))
    assert chisquare(list(first.values())).pvalue > 1e-3


def test_blocks_without_a_choice_take_part_in_every_child():
    space = {**flat(2, 3), "c": Categorical(["only"], label="c")}
    assert [child["c"] for child in children(FairSampler(space, seed=0))] == ["only"] * 3


def test_goes_on_from_its_state():
    sampler, again = (FairSampler(flat(3, 4), seed=seed) for seed in (0, 1))
    children(sampler)
    again.load_state_dict(sampler.state_dict())
    assert children(again) == children(sampler)
    assert again.current == sampler.current


def test_deletions_that_leave_blocks_unequal_are_refused_at_the_next_step():
    sampler = FairSampler(flat(3, 3), seed=0)
    sampler.restrict({"a": [0, 1]})
    with pytest.raises(ValueError, match=r"candidates are {'a': 2, 'b': 3, 'c': 3}; accepted are"):
        sampler.turns(probe=None)
    sampler.restrict({"b": [1, 2], "c": [0, 2]})
    assert len(children(sampler)) == 2


@pytest.mark.parametrize(
    ("space", "more", "message"),
    [
        ({**flat(1, 3), "b": Categorical([0, 1], label="b")}, {},
         r"^the numbers of candidates are {'a': 3, 'b': 2}; accepted are blocks of one size"),
        (flat(3, 1), {}, "^every block has one candidate only; accepted are at least two"),
        (flat(2, 2), {"filter": bool}, r"^filter is <class 'bool'>; accepted is None"),
        (ConstrainedSpace(), {}, "^the space has a constraint of its own; accepted are spaces"),
        (NestedSpace(), {}, "^the space has choices inside of others; accepted are spaces"),
    ],
)  # fmt: skip
def test_what_cannot_be_fair_is_refused(space, more, message):
    with pytest.raises(ValueError, match=message):
        FairSampler(space, seed=0, **more)
