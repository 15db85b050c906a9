"""Children by cost: groups against an enumeration, and uniform draws inside."""

from collections import Counter

import numpy as np
import pytest
from nni.mutable import Categorical
from scipy.stats import chisquare
from walks import every, key

from nni_magic.children.costs import CostSum, Summand
from nni_magic.samplers.cost_groups import CostGroups

SPACE = {label: Categorical(range(3), label=label) for label in "abcd"}
CANDIDATES = {label: list(range(3)) for label in "abcd"}


def linear():
    return CostSum(10, [Summand({k: range(3)}, lambda s, k=k: 5 * s[k] ** 2) for k in "abcd"])


def joint():
    """A cost whose labels hang together, too many for a count."""
    return CostSum(10, [Summand(dict.fromkeys("abcd", range(9)), lambda s: sum(s.values()))])


def allowed(sample):
    return sample["d"] != 1


def groups(cost=linear):
    own = cost()
    costs = [own(child) for child in every(CANDIDATES)]
    return CostGroups(own, (min(costs), max(costs)), 4), own


def test_groups_are_intervals_of_equal_width():
    found, cost = groups()
    low, high = 10, 10 + 4 * 20
    for child in every(CANDIDATES):
        share = (cost(child) - low) / (high - low)
        assert found.of(child) == min(int(share * 4), 3)
    assert {found.of(child) for child in every(CANDIDATES)} == {0, 1, 2, 3}


@pytest.mark.parametrize("cost", [linear, joint])
def test_children_of_a_group_are_drawn_uniformly_from_the_valid_ones(cost):
    found, _ = groups(cost)
    rng = np.random.default_rng(0)
    for group in range(4):
        members = [c for c in every(CANDIDATES) if found.of(c) == group and allowed(c)]
        counts = Counter(
            key(found.draw(group, CANDIDATES, rng, allowed, 5000)) for _ in range(20 * len(members))
        )
        assert set(counts) == set(map(key, members))
        if len(members) > 1:
            assert chisquare([counts[key(child)] for child in members]).pvalue > 1e-4


def test_group_without_valid_children_gives_none():
    found, _ = groups()
    rng = np.random.default_rng(0)
    assert found.draw(3, CANDIDATES, rng, lambda sample: False, 50) is None
    few = {label: [0] for label in "abcd"}
    assert found.draw(3, few, rng, allowed, 50) is None
    assert found.draw(0, few, rng, allowed, 50) == {label: 0 for label in "abcd"}


def test_children_of_one_cost_are_one_group():
    found = CostGroups(linear(), (10, 10), 4)
    assert found.of(dict.fromkeys("abcd", 2)) == 0
