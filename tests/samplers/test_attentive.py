"""Attentive sampling: which of several children of about one cost is trained."""

import math
from collections import Counter

import pytest
from scipy.stats import chisquare
from spaces import SizedSpace

from nni_magic.children.samples import digest
from nni_magic.samplers.attentive import AttentiveSampler
from nni_magic.supernet.parameters import parameter_cost


def attentive(n_blocks=4, **more):
    space = SizedSpace(n_blocks=n_blocks)
    return AttentiveSampler(space, **{"seed": 0, "cost": parameter_cost(space), **more})


def loss(child):
    return int(digest(child)[:6], 16) / 1e6


class Probe:
    """Gives every child a loss of its own, and remembers which were asked for."""

    def __init__(self):
        self.asked = []

    def __call__(self, child):
        self.asked.append(child)
        return loss(child)


@pytest.mark.parametrize(("pick", "best"), [("best_up", min), ("worst_up", max)])
def test_child_with_the_least_or_the_most_loss_is_taken(pick, best):
    sampler = attentive(pick=pick, draws=4)
    for _ in range(20):
        probe = Probe()
        children = [turn.child for turn in sampler.turns(probe)[2:]]
        assert len(children) == 2
        asked = [probe.asked[:4], probe.asked[4:]]
        for child, group in zip(children, asked, strict=True):
            losses = {str(each): loss(each) for each in group}
            assert losses[str(child)] == best(losses.values())
            assert len({sampler.cost(each) for each in group}) == 1  # its target's


def test_costs_follow_the_prior_and_children_of_a_cost_are_uniform():
    sampler = attentive(n_random=1, draws=2)
    drawn = [sampler.alike() for _ in range(800)]
    costs = Counter(sampler.cost(child) for group in drawn for child in group[:1])
    expected = {20 * n: 800 * math.comb(4, n) / 16 for n in range(5)}
    assert costs.keys() == expected.keys()
    found = [costs[cost] for cost in sorted(costs)]
    assert chisquare(found, [expected[cost] for cost in sorted(costs)]).pvalue > 1e-3
    seconds = Counter(
        str(group[1]) for group in drawn if len(group) == 2 and sampler.cost(group[0]) == 40
    )
    assert len(seconds) == 6
    assert chisquare(list(seconds.values())).pvalue > 1e-3


def test_one_draw_is_the_sandwich_without_a_probe():
    sampler = attentive(draws=1)
    assert len(sampler.turns(probe=None)) == 4


def test_cost_without_another_child_has_to_do_with_those_found():
    sampler = attentive(draws=3)
    sampler.tries = 0
    assert len(sampler.alike()) == 1


def test_batch_that_is_skipped_takes_the_first_child():
    sampler, alone = attentive(), attentive()
    turns = sampler.turns(lambda child: math.nan)
    assert turns[2].child == alone.alike()[0]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"draws": 0}, "draws is 0; accepted are whole numbers of at least 1"),
        ({"pick": "best"}, "pick is 'best'; accepted are 'best_up', 'worst_up'"),
    ],
)
def test_settings_out_of_range_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        attentive(**setting)
