"""Sums of costs: what NNI's profilers give, and extremes against an enumeration."""

import itertools
import random

import nni
import pytest
import torch
from nni.mutable import Categorical, CategoricalMultiple
from nni.mutable.symbol import SymbolicExpression
from nni.nas.nn.pytorch import LayerChoice, ModelSpace, MutableConv2d, Repeat
from nni.nas.profiler import ExpressionProfiler, Profiler
from nni.nas.profiler.pytorch.flops import FlopsProfiler, NumParamsProfiler
from spaces import WIDTH, ConvSpace, SizedSpace
from torch import nn
from training import bert

from nni_magic.children import costs
from nni_magic.children.costs import CostSum, Summand, tabulated
from search_spaces import ProxylessNASSpace

IMAGES = torch.zeros(2, 1, 8, 8)


class Formula(ExpressionProfiler):
    def __init__(self, expression):
        self.expression = expression


class Counted:
    """A function of a sample that counts its calls."""

    def __init__(self, function):
        self.function = function
        self.calls = 0

    def __call__(self, sample):
        self.calls += 1
        return self.function(sample)


def categorical(label, *choices):
    return Categorical(choices, label=label)


def every(space):
    choices = {str(label): mutable.values for label, mutable in space.items()}
    return [dict(zip(choices, c, strict=True)) for c in itertools.product(*choices.values())]


def proxyless():
    return ProxylessNASSpace.preset("tiny", resolution=8, candidates=("mb3_3x3", "mb6_5x5", "zero"))


@pytest.mark.parametrize("profiler", [FlopsProfiler, NumParamsProfiler])
@pytest.mark.parametrize(("make", "inputs"), [
    (ConvSpace, IMAGES), (SizedSpace, torch.zeros(1, WIDTH)), (proxyless, IMAGES),
    (bert, torch.ones(1, 12, dtype=torch.long)),
])  # fmt: skip
def test_costs_and_extremes_are_those_of_nnis_profiler(make, inputs, profiler):
    space = make()
    theirs = profiler(space, inputs)
    ours = tabulated(theirs)
    expected = [theirs.profile(child) for child in every(space.simplify())]
    for _ in range(2):  # computed, then looked up
        assert [ours.profile(child) for child in every(space.simplify())] == expected
    assert ours.extremes() == (min(expected), max(expected))
    assert all(len(summand.candidates) == 1 for summand in ours.summands)


class DeepSpace(ModelSpace):
    """A depth, choice blocks that it may leave out, and a kernel size."""

    def __init__(self):
        super().__init__()
        self.repeat = Repeat(
            lambda i: LayerChoice(
                {"conv3": nn.Conv2d(1, 1, 3, padding=1), "skip": nn.Identity()}, label=f"op_{i}"
            ),
            (1, 3),
            label="depth",
        )
        self.conv = MutableConv2d(1, 1, kernel_size=nni.choice("kernel", [1, 3]))

    def forward(self, x):
        return self.conv(self.repeat(x))


def test_labels_that_hang_together_are_taken_together():
    space = DeepSpace()
    theirs = NumParamsProfiler(space, IMAGES)
    ours = tabulated(theirs)
    expected = [theirs.profile(child) for child in every(space.simplify())]
    assert len(expected) == 3 * 2**3 * 2
    assert [ours.profile(child) for child in every(space.simplify())] == expected
    assert ours.extremes() == (min(expected), max(expected))
    assert sorted(map(sorted, (summand.candidates for summand in ours.summands))) == [
        ["depth", "op_0"], ["depth", "op_1"], ["depth", "op_2"], ["kernel"],
    ]  # fmt: skip


@pytest.mark.parametrize("seed", range(20))
def test_extremes_of_random_sums_match_an_enumeration(seed):
    draw = random.Random(seed)
    space = {label: categorical(label, *range(draw.randint(1, 4))) for label in "abcde"}
    total = draw.randint(-5, 5)
    for _ in range(draw.randint(1, 6)):
        labels = draw.sample("abcde", draw.randint(1, 3))
        term = draw.choice([1, -1])
        for label in labels:
            term = term * (space[label] - draw.randint(0, 3))
        total = total + term
    expected = [total.evaluate(child) for child in every(space)]
    found = tabulated(Formula(total))
    assert [found(child) for child in every(space)] == expected
    assert found.extremes() == (min(expected), max(expected))


def test_summand_is_computed_once_for_its_choices():
    cost = Counted(lambda sample: sample["a"] * sample["b"])
    summand = Summand({"a": [0, 1], "b": [0, 1]}, cost)
    for c in range(3):
        for a, b in itertools.product([0, 1], repeat=2):
            assert summand({"a": a, "b": b, "c": c}) == a * b
    assert cost.calls == 4


def test_what_is_too_large_for_a_table_is_computed_every_time(monkeypatch):
    monkeypatch.setattr(costs, "TABLE_SIZE", 3)
    monkeypatch.setattr(costs, "JOINT_SIZE", 3)
    cost = Counted(lambda sample: sample["a"] * sample["b"])
    found = CostSum(0, [Summand({"a": [0, 1], "b": [0, 1]}, cost)])
    assert [found({"a": 1, "b": 1}) for _ in range(3)] == [1, 1, 1]
    assert cost.calls == 3
    assert found.extremes() is None
    assert cost.calls == 3


def test_choices_that_are_lists_are_not_remembered():
    several = CategoricalMultiple([1, 2, 3], n_chosen=2, label="several")
    total = SymbolicExpression(len, "len({})", [several]) + categorical("a", 1, 2)
    found = tabulated(Formula(total))
    assert [found({"several": [1, 3], "a": a}) for a in (1, 2, 1)] == [3, 4, 3]
    assert found.extremes() is None


def test_cost_of_all_children_alike():
    found = tabulated(Formula(7.0))
    assert found({"a": 1}) == 7 and found.extremes() == (7, 7)


def test_what_is_no_sum_is_one_summand():
    a, b = categorical("a", 1, 2), categorical("b", 3, 4)
    found = tabulated(Formula((a + b) * 2 - 1))
    assert len(found.summands) == 1
    assert found({"a": 2, "b": 3}) == 9 and found.extremes() == (7, 11)


def test_profilers_that_are_more_than_an_expression_stay_what_they_are():
    class Scaled(Formula):
        def profile(self, sample):
            return 10 * super().profile(sample)

    class Other(Profiler):
        def __init__(self):
            pass

    for profiler in (Scaled(categorical("a", 1, 2)), Other(), CostSum(1, [])):
        assert tabulated(profiler) is profiler


def test_sample_of_another_space_fails_as_with_nni():
    a = categorical("a", "x", "y")
    found = tabulated(Formula(SymbolicExpression.switch_case(a, {"x": 1, "y": 2}) + 1))
    with pytest.raises(KeyError, match="a"):
        found({"b": 1})
    with pytest.raises(RuntimeError, match="No matching case for z"):
        found({"a": "z"})


@pytest.mark.parametrize("largest", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_extreme_sample_has_the_cost_of_the_extreme_among_the_candidates(seed, largest):
    rng = random.Random(seed)
    tables = {(a, b): {} for a, b in ("ab", "bc", "ac", "de")}
    for table in tables.values():
        table |= {pair: rng.random() for pair in itertools.product(range(3), repeat=2)}
    cost = CostSum(2, [
        Summand({a: range(3), b: range(3)}, lambda s, a=a, b=b: tables[a, b][s[a], s[b]])
        for a, b in tables
    ])  # fmt: skip
    candidates = {"a": [0, 2], "b": [0, 1, 2], "c": [1], "d": [0, 1, 2], "e": [2, 0], "f": ["x"]}
    children = [
        dict(zip(candidates, choices, strict=True))
        for choices in itertools.product(*candidates.values())
    ]
    found = cost.extreme_sample(candidates, largest=largest)
    assert list(found) == list(candidates)
    assert found in children
    assert cost(found) == pytest.approx((max if largest else min)(map(cost, children)))
