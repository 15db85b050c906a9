"""The cheapest and the dearest valid child, against an enumeration of all."""

import itertools
import random

import pytest
from nni.mutable import Categorical

from nni_magic.children.constraints import Budget, as_constraint
from nni_magic.children.costs import CostSum, Summand
from nni_magic.samplers import UniformSampler, extremes
from nni_magic.samplers.extremes import extreme_child

LABELS = "abcd"
CANDIDATES = {label: [0, 1, 2] for label in LABELS}
SPACE = {label: Categorical([0, 1, 2], label=label) for label in LABELS}
every_side = pytest.mark.parametrize("largest", [False, True])


def table(labels, seed):
    """A summand whose costs are drawn."""
    drawn, rng = {}, random.Random(f"{labels} {seed}")
    for choices in itertools.product([0, 1, 2], repeat=len(labels)):
        drawn[choices] = rng.randrange(1000)
    return Summand(
        {label: [0, 1, 2] for label in labels},
        lambda sample: drawn[tuple(sample[label] for label in labels)],
    )


def chain(seed):
    return CostSum(7, [table("ab", seed), table("bc", seed), table("d", seed)])


def every():
    return [
        dict(zip(LABELS, choices, strict=True)) for choices in itertools.product(range(3), repeat=4)
    ]


def check(cost, filter, largest, candidates=CANDIDATES):
    sampler = UniformSampler(SPACE, seed=0, filter=filter)
    found = extreme_child(cost, candidates, sampler.allows, sampler.filter, largest=largest)
    assert sampler.allows(found)
    valid = [s for s in every() if sampler.allows(s) and all(s[k] in candidates[k] for k in s)]
    assert cost(found) == (max if largest else min)(map(cost, valid))


@every_side
@pytest.mark.parametrize("seed", range(5))
def test_extreme_is_that_of_an_enumeration(seed, largest):
    check(chain(seed), None, largest)
    check(chain(seed), None, largest, {**CANDIDATES, "b": [1], "d": [0, 2]})


@every_side
@pytest.mark.parametrize("seed", range(5))
def test_extreme_inside_budgets_is_that_of_an_enumeration(seed, largest):
    cost, other = chain(seed), chain(seed + 100)
    low, high = other.extremes()
    tight = Budget(other, max=low + 0.2 * (high - low))
    check(cost, tight, largest)
    own = cost.extremes()
    inside = Budget(cost, min=own[0] + 300, max=own[1] - 300)
    check(cost, inside, largest)
    check(cost, as_constraint([tight, Budget(other, min=low + 1)]), largest)


@every_side
@pytest.mark.parametrize("seed", range(3))
def test_children_that_a_function_rejects_are_passed_over(seed, largest):
    check(chain(seed), lambda sample: sum(sample.values()) % 4 == 1, largest)


@every_side
def test_labels_that_cost_nothing_may_have_to_change_too(largest):
    cost = CostSum(0, [table("a", 0)])
    check(cost, lambda sample: sample["c"] == 2 and sample["d"] == 1, largest)


def test_filter_that_rejects_all_but_the_last_is_refused(monkeypatch):
    monkeypatch.setattr(extremes, "CUTS", 6)

    def filter(sample):
        return sum(sample.values()) >= 9

    space = {label: Categorical(range(4), label=label) for label in "abcde"}
    summands = [Summand({label: range(4)}, lambda s, k=label: s[k]) for label in space]
    sampler = UniformSampler(space, seed=0, filter=filter)
    message = "smallest child is not found among the 6 that are smallest by the cost: filter"
    with pytest.raises(ValueError, match=message):
        extreme_child(
            CostSum(0, summands), sampler.candidates, sampler.allows, filter, largest=False
        )


def test_cost_whose_labels_hang_together_is_refused_under_a_filter():
    space = {label: Categorical(range(9), label=label) for label in "abcd"}
    pairs = [
        Summand({a: range(9), b: range(9)}, lambda s, a=a, b=b: s[a] * s[b])
        for a, b in ("ab", "bc", "cd")
    ]
    cost, sampler = CostSum(0, pairs), UniformSampler(space, seed=0)
    found = extreme_child(cost, sampler.candidates, sampler.allows, None, largest=True)
    assert found == dict.fromkeys("abcd", 8)
    with pytest.raises(ValueError, match="largest child by the cost is not found: its labels hang"):
        extreme_child(cost, sampler.candidates, lambda s: s["a"] < 8, None, largest=True)
