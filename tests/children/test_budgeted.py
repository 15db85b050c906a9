"""Uniform draws inside a budget: against an enumeration, and where rejection would never end."""

import itertools

import numpy as np
import pytest
import scipy.stats
import torch
from nni.mutable import Categorical
from nni.nas.profiler.pytorch.flops import FlopsProfiler

from nni_magic.children.budgeted import draws_inside
from nni_magic.children.constraints import Budget, as_constraint
from nni_magic.children.costs import CostSum, Summand
from nni_magic.samplers import GradualSampler, UniformSampler
from nni_magic.search import Population
from search_spaces import ProxylessNASSpace


def labels(n_labels, choices=(0, 1, 2)):
    return {f"l{i}": list(choices) for i in range(n_labels)}


def space_of(candidates):
    return {name: Categorical(choices, label=name) for name, choices in candidates.items()}


def single(label, costs):
    return Summand({label: list(costs)}, lambda sample: costs[sample[label]])


def pair(a, b, costs):
    return Summand({a: [0, 1, 2], b: [0, 1, 2]}, lambda sample: costs[sample[a]][sample[b]])


def random_cost(seed):
    """Five labels: two that cost together, two alone, one for nothing."""
    rng = np.random.default_rng(seed)
    together = pair("l0", "l2", rng.uniform(0, 10, (3, 3)).tolist())
    alone = [single(name, dict(enumerate(rng.uniform(0, 10, 3)))) for name in ("l1", "l3")]
    return CostSum(7.0, [*alone, together])


def everything(candidates):
    return [
        dict(zip(candidates, choice, strict=True))
        for choice in itertools.product(*candidates.values())
    ]


@pytest.mark.parametrize("quantiles", [(None, 0.05), (None, 0.6), (0.9, None), (0.4, 0.5)])
@pytest.mark.parametrize("seed", [0, 1])
def test_draws_are_uniform_over_what_is_inside(seed, quantiles):
    candidates, cost = labels(5), random_cost(seed)
    children = everything(candidates)
    low, high = (
        None if q is None else float(np.quantile([cost(child) for child in children], q))
        for q in quantiles
    )
    budget = Budget(cost, low, high)
    valid = [tuple(child.values()) for child in children if budget(child)]
    sampler = UniformSampler(space_of(candidates), seed=seed, filter=budget)
    drawn = [tuple(sampler.next().values()) for _ in range(50 * len(valid))]
    assert set(drawn) == set(valid)
    counts = [drawn.count(child) for child in valid]
    assert scipy.stats.chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize(
    ("n_blocks", "bounded"), [(26, False), (60, False), (20, True), (26, True)]
)
def test_few_of_very_many_children_are_drawn_uniformly_from_the_dear_end(n_blocks, bounded):
    candidates = labels(n_blocks, range(6))
    cost = CostSum(0, [single(name, dict(enumerate(range(6)))) for name in candidates])
    most = 5 * n_blocks
    budget = Budget(cost, min=most - 2, max=most if bounded else None)
    sampler = UniformSampler(space_of(candidates), seed=0, filter=budget)
    missing = [int(most - cost(sampler.next())) for _ in range(2000)]
    # Nothing is missing; one in a block; one in two blocks, or two in one.
    ways = np.array([1, n_blocks, n_blocks * (n_blocks - 1) / 2 + n_blocks])
    counts = [missing.count(n) for n in range(3)]
    assert scipy.stats.chisquare(counts, 2000 * ways / ways.sum()).pvalue > 1e-3


def test_next_to_nothing_is_drawn_in_vain():
    candidates, cost = labels(5), random_cost(0)
    costs = [cost(child) for child in everything(candidates)]
    budget = Budget(cost, max=float(np.quantile(costs, 0.05)))
    draw = draws_inside(budget, candidates)
    rng = np.random.default_rng(0)
    assert np.mean([budget(draw(rng)) for _ in range(500)]) > 0.95


@pytest.fixture(scope="module")
def tight():
    """Of 20 blocks only two may be large: one random child in 5,000."""
    blocks = {f"b{i}": ["small", "large"] for i in range(20)}
    cost = CostSum(0, [single(name, {"small": 1, "large": 10}) for name in blocks])
    return space_of(blocks), {"profiler": cost, "max": 20 + 2 * 9}


def test_tight_budget_can_be_trained_and_searched(tight):
    space, budget = tight
    inside = as_constraint(budget)
    uniform = UniformSampler(space, seed=0, filter=budget)
    walk = GradualSampler(space, seed=0, filter=budget, lazy=True)
    children = [sampler.next() for sampler in (uniform, walk) for _ in range(300)]
    children += Population(space, seed=0, size=50, filter=budget).ask()
    assert len(children) == 650
    assert all(map(inside, children))


def test_imagenet_preset_can_be_trained_under_a_mobile_budget():
    space = ProxylessNASSpace.preset("imagenet", resolution=32)
    flops = FlopsProfiler(space, torch.zeros(2, 3, 32, 32))
    smallest = {
        name: "zero" if "zero" in choice.values else "mb3_3x3"
        for name, choice in space.simplify().items()
    }
    budget = Budget(flops, max=1.5 * flops.profile(smallest))
    sampler = UniformSampler(space, seed=0, filter=budget)
    assert len({sampler.name(sampler.next()) for _ in range(20)}) == 20


def test_other_constraints_hold_as_well(tight):
    space, budget = tight
    sampler = UniformSampler(space, seed=0, filter=[lambda sample: sample["b0"] == "large", budget])
    assert all(sampler.next()["b0"] == "large" for _ in range(50))


def test_deleted_candidates_are_not_drawn(tight):
    space, budget = tight
    sampler = UniformSampler(space, seed=0, filter=budget)
    sampler.next()
    sampler.restrict({f"b{i}": ["small"] for i in range(10)})
    drawn = [sampler.next() for _ in range(100)]
    assert {child[f"b{i}"] for child in drawn for i in range(10)} == {"small"}
    assert {child["b15"] for child in drawn} == {"small", "large"}
    sampler.restrict({f"b{i}": ["small"] for i in range(20)})
    assert set(sampler.next().values()) == {"small"}


def test_state_goes_on_with_the_same_draws(tight):
    space, budget = tight
    sampler, other = (UniformSampler(space, seed=s, filter=budget) for s in (0, 1))
    sampler.next()
    other.load_state_dict(sampler.state_dict())
    assert [sampler.next() for _ in range(5)] == [other.next() for _ in range(5)]


def test_sample_has_the_labels_in_the_order_of_the_space():
    candidates = {"z": [0, 1], "a": [0, 1], "free": [0, 1]}
    cost = CostSum(0, [single("a", {0: 0, 1: 1}), single("z", {0: 0, 1: 1})])
    draw = draws_inside(Budget(cost, max=1), candidates)
    assert list(draw(np.random.default_rng(0))) == ["z", "a", "free"]


def test_labels_that_hang_together_are_left_to_rejection():
    candidates = labels(7)
    chain = CostSum(0, [pair(f"l{i}", f"l{i + 1}", [[0, 1, 2]] * 3) for i in range(6)])
    budget = Budget(chain, max=6)
    assert draws_inside(budget, candidates) is None
    sampler = UniformSampler(space_of(candidates), seed=0, filter=budget)
    assert all(budget(sampler.next()) for _ in range(20))


def test_constraints_without_a_sum_are_left_to_rejection():
    assert draws_inside(None, labels(2)) is None
    assert draws_inside(as_constraint(lambda sample: True), labels(2)) is None


def test_children_that_all_cost_the_same_are_all_drawn():
    candidates = labels(2)
    budget = Budget(CostSum(1, [single("l0", dict.fromkeys(range(3), 2))]), max=3)
    draw = draws_inside(budget, candidates)
    rng = np.random.default_rng(0)
    assert len({tuple(draw(rng).values()) for _ in range(200)}) == 9
