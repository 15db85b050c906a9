"""The most probable child that is allowed, against all children."""

import itertools
import math

import numpy as np
import pytest

from nni_magic.strategies.differentiable import ordered
from nni_magic.strategies.differentiable.ordered import by_probability, check_covers, most_probable

CANDIDATES = {"a": ["x", "y", "z"], "b": [1, 2], "c": [[0], [1], [2], [3]]}


def weights(seed=0):
    draws = np.random.default_rng(seed)
    return {label: draws.dirichlet(np.ones(len(own))).tolist() for label, own in CANDIDATES.items()}


def probability(child, by):
    return math.prod(by[label][CANDIDATES[label].index(choice)] for label, choice in child.items())


def everything():
    every = itertools.product(*CANDIDATES.values())
    return [dict(zip(CANDIDATES, own, strict=True)) for own in every]


@pytest.mark.parametrize("seed", range(3))
def test_order_is_that_of_all_children_sorted(seed):
    by = weights(seed)
    found = [probability(child, by) for child in by_probability(by, CANDIDATES)]
    assert found == pytest.approx(sorted((probability(c, by) for c in everything()), reverse=True))


def test_each_child_comes_once_even_if_all_are_alike():
    alike = {label: [1 / len(own)] * len(own) for label, own in CANDIDATES.items()}
    found = list(by_probability(alike, CANDIDATES))
    assert len(found) == 24
    assert all(child in found for child in everything())


def test_best_allowed_child_is_the_best_of_all_that_are():
    by = weights(1)

    def allowed(child):
        return child["a"] == "y" and child["c"] != [0]

    best = max(filter(allowed, everything()), key=lambda child: probability(child, by))
    assert most_probable(by, CANDIDATES, allowed) == best


def test_filter_that_allows_none_is_named(monkeypatch):
    with pytest.raises(ValueError, match="filter allows none of the 24 most probable children"):
        most_probable(weights(), CANDIDATES, lambda child: False)
    monkeypatch.setattr(ordered, "MOST_CHILDREN", 5)
    with pytest.raises(ValueError, match="filter allows none of the 5 most probable children"):
        most_probable(weights(), CANDIDATES, lambda child: False)


def test_choice_without_weights_is_named():
    check_covers(weights(), CANDIDATES, "filter is given")
    with pytest.raises(ValueError, match="'c' has no weight for each of its 4 choices"):
        check_covers({**weights(), "c": [1.0]}, CANDIDATES, "filter is given")
