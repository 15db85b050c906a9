"""The pool of promising children: against a brute-force choice."""

import math
from collections import Counter

import pytest
from scipy.stats import chisquare
from spaces import ConvSpace, SizedSpace
from walks import every, key

from nni_magic.children.samples import digest
from nni_magic.samplers.pool import PoolSampler, best_of_groups
from nni_magic.supernet.parameters import parameter_cost


class Scores:
    """Stands for a probe: every child has a score of its own."""

    def __init__(self):
        self.asked = []

    def saliency(self, child):
        self.asked.append(key(child))
        return int(digest(child)[:6], 16) / 1e6


def pool_of(make=ConvSpace, **more):
    space = make()
    settings = {"seed": 0, "cost": parameter_cost(space), "n_scored": 1000, "n_groups": 4}
    return PoolSampler(space, **{**settings, **more})


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_pool_is_the_best_share_of_every_group_of_all_children(share):
    sampler = pool_of(share=share)  # asks for more children than the 256 that there are
    sampler.turns(Scores())
    expected = []
    children = list(every(sampler.candidates))
    for group in range(4):
        members = [child for child in children if sampler.groups.of(child) == group]
        members.sort(key=Scores().saliency, reverse=True)
        expected += members[: math.ceil(share * len(members))]
    assert sorted(map(key, sampler.children)) == sorted(map(key, expected))


def test_children_are_uniform_over_the_pool_which_is_chosen_once():
    sampler, scores = pool_of(n_scored=40, share=0.2), Scores()
    trained = [sampler.turns(scores)[0].child for _ in range(600)]
    assert len(set(scores.asked)) == 40
    counts = Counter(map(key, trained))
    assert set(counts) == set(map(key, sampler.children))
    assert chisquare(list(counts.values())).pvalue > 1e-3


def test_every_group_keeps_one_at_least():
    found = best_of_groups([{"a": n} for n in range(5)], [5, 4, 3, 2, 1], [0, 0, 0, 1, 2], 0.1)
    assert found == [{"a": 0}, {"a": 3}, {"a": 4}]


@pytest.mark.parametrize("score", [math.nan, math.inf])
def test_children_whose_score_is_not_finite_are_left_out(score):
    children = [{"a": n} for n in range(5)]
    assert best_of_groups(children, [1.0, score, 5.0, 3.0, score], [0, 0, 0, 0, 1], 0.5) == [
        {"a": 2}, {"a": 3}
    ]  # fmt: skip
    sampler, overflown = pool_of(n_scored=50), Scores()
    overflown.saliency = lambda child: math.inf
    sampler.turns(overflown)
    assert sampler.children is None


def test_filter_holds_for_the_pool():
    sampler = pool_of(filter=lambda sample: sample["block_1"] == "skip", n_scored=50)
    sampler.turns(Scores())
    assert {child["block_1"] for child in sampler.children} == {"skip"}


def test_batch_that_is_skipped_leaves_the_choice_to_the_next():
    sampler = pool_of(n_scored=50)
    skipped = Scores()
    skipped.saliency = lambda child: math.nan
    assert len(sampler.turns(skipped)) == 1
    assert sampler.children is None
    sampler.turns(Scores())
    assert sampler.children


def test_goes_on_from_its_state():
    sampler, again = (pool_of(seed=seed) for seed in (0, 1))
    sampler.turns(Scores())
    again.load_state_dict(sampler.state_dict())
    assert again.children == sampler.children
    assert [again.next() for _ in range(5)] == [sampler.next() for _ in range(5)]
    sampler.reset(0)
    assert sampler.children is None


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"n_scored": 0}, "scored_children is 0; accepted are whole numbers of at least 1"),
        ({"share": 0}, "pool_share is 0; accepted are"),
        ({"n_groups": 0}, "cost_groups is 0; accepted are whole numbers of at least 1"),
    ],
)
def test_settings_out_of_range_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        pool_of(lambda: SizedSpace(n_blocks=4), **setting)
