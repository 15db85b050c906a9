"""Constraints in every form that users may give them in, and budgets that make sense or do not."""

import itertools

import numpy as np
import pytest
import torch
from nni.mutable import Categorical
from nni.nas.oneshot.pytorch.profiler import RangeProfilerFilter
from nni.nas.profiler import Profiler
from nni.nas.profiler.pytorch.flops import FlopsProfiler, NumParamsProfiler
from scipy.sparse.csgraph import connected_components
from spaces import WIDTH, NestedSpace, SizedSpace, supernet

from nni_magic.children import samples
from nni_magic.children.constraints import Budget, as_constraint
from nni_magic.children.costs import CostSum, Summand
from nni_magic.samplers import GradualSampler, UniformSampler
from search_spaces import ProxylessNASSpace

SETTINGS = {
    "stages": ((8, 2, 2), (12, 2, 1)), "resolution": 8, "n_classes": 5, "in_channels": 1,
    "stem_channels": 4, "first_channels": 8, "head_channels": 16,
    "candidates": ("mb3_3x3", "mb3_5x5", "mb6_3x3", "mb6_7x7", "zero"),
}  # fmt: skip


def linear(n_linear):
    return {f"block_{n}": "linear" if n <= n_linear else "skip" for n in range(1, 5)}


@pytest.fixture
def params():  # a linear layer has 20 parameters
    return NumParamsProfiler(SizedSpace(), torch.zeros(1, WIDTH))


@pytest.fixture
def at_most_two(params):
    return {"profiler": params, "max": 40}


def allowed(constraint):
    return [n for n in range(5) if constraint(linear(n))]


def test_callable_and_none_stay_what_they_are(at_most_two):
    assert as_constraint(None) is None
    assert as_constraint(callable) is callable
    budget = as_constraint(at_most_two)
    assert as_constraint(budget) is budget


@pytest.mark.parametrize("make", [dict, lambda **budget: RangeProfilerFilter(**budget)])
def test_dict_and_nnis_filter_are_one(make, params):
    assert allowed(as_constraint(make(profiler=params, max=40))) == [0, 1, 2]
    assert allowed(as_constraint(make(profiler=params, min=40))) == [2, 3, 4]
    assert allowed(as_constraint(make(profiler=params, min=20, max=60))) == [1, 2, 3]


def test_filter_derived_from_nnis_stays_what_it_is(params):
    class Odd(RangeProfilerFilter):
        def filter(self, sample):
            return super().filter(sample) and self.profiler.profile(sample) % 40 == 20

    odd = Odd(params, max=1000)
    assert as_constraint(odd) is odd
    assert allowed(odd) == [1, 3]


def test_all_of_a_sequence_must_hold_and_are_named(at_most_two):
    def skips_last(sample):
        return sample["block_1"] == "linear"

    constraint = as_constraint([at_most_two, skips_last, [lambda sample: True]])
    assert allowed(constraint) == [1, 2]
    assert "RangeProfilerFilter(NumParamsProfiler, max=40)" in repr(constraint)
    assert "skips_last" in repr(constraint)


@pytest.mark.parametrize("filter", [3, "params", [None], [len, 3]])
def test_other_things_are_refused(filter):
    with pytest.raises(TypeError, match=r"filter is .*; accepted are a callable sample -> bool"):
        as_constraint(filter)


def test_profiler_without_a_bound_is_refused(params):
    with pytest.raises(TypeError, match=r'filter is .*Profiler.*"max"'):
        as_constraint(params)
    with pytest.raises(ValueError, match="the budget's min and max are None; accepted are numbers"):
        as_constraint({"profiler": params})
    with pytest.raises(TypeError, match="profiler is <built-in function len>; accepted are prof"):
        as_constraint({"profiler": len, "max": 3})


@pytest.mark.parametrize(("bounds", "message"), [
    ({"max": -1}, "no child is inside the budget: max is -1, but the smallest child has 0 and "
                  "the largest 80 by NumParamsProfiler"),
    ({"min": 80.5}, "no child is inside the budget: min is 80.5, but the smallest child has 0"),
    ({"max": 81}, "the budget bounds nothing: max is 81, .* has 0 and the largest 80 by .*; lower"),
    ({"min": 0, "max": 1e9}, "the budget bounds nothing: max is 1,000,000,000, but"),
    ({"min": 60, "max": 40}, "no child is inside the budget: min is 60, max 40"),
])  # fmt: skip
@pytest.mark.parametrize("make", [UniformSampler, GradualSampler])
def test_budget_outside_the_children_is_told_with_both_figures(make, bounds, message, params):
    with pytest.raises(ValueError, match=message):
        make(SizedSpace(), seed=0, filter={"profiler": params, **bounds})


def test_budget_may_end_where_the_children_do(params):
    for bounds in ({"max": 80}, {"max": 0}, {"min": 80}, {"min": 0}, {"min": -5, "max": 80}):
        Budget(params, **bounds)


def space_of(**choices):
    return {name: Categorical(values, label=name) for name, values in choices.items()}


@pytest.mark.parametrize("make", [UniformSampler, GradualSampler])
@pytest.mark.parametrize("several", [False, True])
def test_profiler_of_another_space_is_refused_at_the_start(make, several, params):
    budget = {"profiler": params, "max": 40}
    space = space_of(block_1=["linear", "skip"], block_3=["linear", "skip"], other=[0, 1])
    message = (
        r"the budget's NumParamsProfiler is of another space: it depends on labels \['block_2', "
        r"'block_4'\], which the space does not have; the space's labels are \['block_1', "
        r"'block_3', 'other'\]"
    )
    with pytest.raises(ValueError, match=message):
        make(space, seed=0, filter=[len, budget] if several else budget)


@pytest.mark.parametrize("make", [UniformSampler, GradualSampler])
def test_space_may_have_labels_and_choices_that_cost_nothing_or_follow_a_formula(make):
    width = Categorical([16, 32], label="width")
    cost = CostSum(0, [Summand({"width": [16, 32]}, lambda sample: (width + 0).evaluate(sample))])
    space = space_of(width=[16, 24, 32], activation=["relu", "gelu"])
    sampler = make(space, seed=0, filter={"profiler": cost, "max": 24})
    drawn = {tuple(sampler.next().values()) for _ in range(100)}
    assert drawn == {*itertools.product([16, 24], ["relu", "gelu"])}


def test_nothing_is_said_of_a_profiler_that_is_no_sum():
    class Depth(Profiler):
        def __init__(self):
            pass

        def profile(self, sample):
            return sum(choice == "linear" for choice in sample.values())

    assert allowed(Budget(Depth(), max=1000)) == [0, 1, 2, 3, 4]
    assert repr(Budget(Depth(), max=1)) == "RangeProfilerFilter(Depth, max=1)"


def test_failing_walk_tells_the_children_s_range(params):
    walk = GradualSampler(SizedSpace(), seed=0, filter={"profiler": params, "min": 30, "max": 50})
    with pytest.raises(
        RuntimeError, match=r"min=30, max=50\) \(the smallest child has 0 and the largest 80"
    ):
        for _ in range(2):  # from two linear layers no single change leads to other two
            walk.next()


def test_labels_of_a_conditional_space_are_found_once_for_all_proposals(monkeypatch):
    asked, active_labels = [], samples.active_labels

    def counted(space, sample):
        asked.append(dict(sample))
        return active_labels(space, sample)

    monkeypatch.setattr(samples, "active_labels", counted)
    refused = iter([True, True, True])
    walk = GradualSampler(NestedSpace(), seed=0, filter=lambda sample: not next(refused, False))
    path = [walk.next() for _ in range(3)]
    assert asked == path[:2]
    refused = iter([True] * 50)
    third = walk.next()
    assert asked == path
    assert walk.active_labels({**third, "outer": "plain"}) == ["outer", "tail"]
    assert walk.active_labels({**third, "outer": "nested"}) == ["outer", "inner", "tail"]


# Walks inside a budget, against an enumeration that asks NNI's profiler


@pytest.fixture(scope="module")
def proxyless():
    """A small ProxylessNAS space, its profiler, all its children, and what NNI counts for them."""
    space = ProxylessNASSpace(**SETTINGS)
    flops = FlopsProfiler(space, torch.zeros(2, 1, 8, 8))
    choices = {label: choice.values for label, choice in space.simplify().items()}
    children = [dict(zip(choices, each, strict=True)) for each in itertools.product(
        *choices.values())]  # fmt: skip
    assert len(children) == 400
    return space, flops, children, np.array([flops.profile(child) for child in children])


def components(children):
    """Number the parts of the graph whose edges join children that differ in one label."""
    rows = np.array([list(child.values()) for child in children])
    edges = (rows[:, None] != rows[None]).sum(2) == 1
    return connected_components(edges)[1]


def visited(walk, steps):
    return {tuple(walk.next().values()) for _ in range(steps)}


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("quantile", [0.01, 0.5, 0.99])
def test_walk_under_an_upper_bound_reaches_every_valid_child(proxyless, quantile, lazy):
    _, flops, children, costs = proxyless
    bound = np.quantile(costs, quantile)
    valid = [child for child, cost in zip(children, costs, strict=True) if cost <= bound]
    assert set(components(valid)) == {0}
    walk = GradualSampler(
        supernet(ProxylessNASSpace(**SETTINGS)), seed=0, lazy=lazy,
        filter={"profiler": flops, "max": bound},
    )  # fmt: skip
    assert visited(walk, 40 * len(valid)) == {tuple(child.values()) for child in valid}


def test_walk_between_bounds_reaches_every_child_on_its_side(proxyless):
    space, flops, children, costs = proxyless
    low, high = np.quantile(costs, [0.9, 0.95])
    valid = [c for c, cost in zip(children, costs, strict=True) if low <= cost <= high]
    parts = components(valid)
    sizes = np.bincount(parts)
    assert len(sizes) > 1 and sizes.max() > 1
    for part, size in enumerate(sizes):
        side = [child for child, p in zip(valid, parts, strict=True) if p == part]
        walk = GradualSampler(space, seed=0, filter={"profiler": flops, "min": low, "max": high})
        walk.current = dict(side[0])
        if size == 1:
            with pytest.raises(RuntimeError, match="no valid sample in 1000 tries from the sample"):
                walk.next()
        else:
            assert visited(walk, 60 * size) == {tuple(child.values()) for child in side}


def test_uniform_sampler_under_a_budget_reaches_every_valid_child(proxyless):
    space, flops, children, costs = proxyless
    bound = np.quantile(costs, 0.1)
    sampler = UniformSampler(space, seed=0, filter=RangeProfilerFilter(flops, max=bound))
    valid = {tuple(c.values()) for c, cost in zip(children, costs, strict=True) if cost <= bound}
    assert visited(sampler, 20 * len(valid)) == valid
