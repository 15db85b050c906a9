"""Groups by cost that are drawn by how far they lag."""

import math
from collections import Counter

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from spaces import ConvSpace, FlatSpace, SizedSpace

from nni_magic.samplers.shifted import MOMENTUM, ShiftedSampler, shifted
from nni_magic.supernet.parameters import parameter_cost
from nni_magic.supernet.step import Step, Turn


def sampler_of(make=lambda: SizedSpace(n_blocks=4), **more):
    space = make()
    return ShiftedSampler(space, **{"seed": 0, "cost": parameter_cost(space), **more})


def children(sampler, n):
    return [sampler.next() for _ in range(n)]


def test_equal_gaps_give_every_group_the_same_probability():
    np.testing.assert_allclose(shifted([9.0, 7.0, 5.0, 3.0, 1.0], 0.1), 0.2)
    np.testing.assert_allclose(shifted([2.0, 2.0, 2.0], 0.1), 1 / 3)
    np.testing.assert_allclose(shifted([5.0, 1.0], 0.1), 0.5)  # nothing to compare with
    np.testing.assert_allclose(shifted([0.0, 0.0, 0.0], 0.1), 1 / 3)


def test_probabilities_are_those_of_the_formula():
    losses, temperature = [4.0, 3.2, 2.5, 2.0], 0.2
    second, third = 3.2 - (4.0 + 2.5) / 2, 2.5 - (3.2 + 2.0) / 2
    lags = np.array([-second, second, third, -third]) / (temperature * np.mean(losses))
    weights = np.exp(lags)
    np.testing.assert_allclose(shifted(losses, temperature), weights / weights.sum())


@pytest.mark.parametrize("lagging", range(5))
def test_group_that_lags_gets_more(lagging):
    losses = np.linspace(3, 1, 5)
    losses[lagging] += 0.2
    found = shifted(losses, 0.1)
    assert found.argmax() == lagging
    assert found[lagging] > 0.2
    assert shifted(losses, 0.01)[lagging] > found[lagging]


def test_groups_are_drawn_uniformly_until_each_was_trained_and_then_by_their_losses():
    sampler = sampler_of(n_groups=5)
    assert sampler.filled == [0, 1, 2, 3, 4]
    counts = Counter(sampler.groups.of(child) for child in children(sampler, 1000))
    assert chisquare([counts[group] for group in range(5)]).pvalue > 1e-3
    sampler.losses = {0: 3.0, 1: 2.5, 2: 2.2, 3: 1.5, 4: 1.0}
    expected = shifted(list(sampler.losses.values()), 0.1)
    counts = Counter(sampler.groups.of(child) for child in children(sampler, 1000))
    assert chisquare([counts[group] for group in range(5)], 1000 * expected).pvalue > 1e-3


def test_children_of_a_group_are_uniform():
    sampler = sampler_of(n_groups=5)
    middle = Counter(
        str(child) for child in children(sampler, 1500) if sampler.groups.of(child) == 2
    )
    assert len(middle) == 6  # two of four blocks
    assert chisquare(list(middle.values())).pvalue > 1e-3


def test_losses_are_means_with_momentum_by_group():
    sampler = sampler_of(n_groups=5)
    small, large = (dict.fromkeys(sampler.candidates, name) for name in ("skip", "linear"))
    for child, loss in ((small, 2.0), (large, 1.0), (small, 4.0)):
        sampler.tell(Step([Turn(child)], losses=[torch.tensor(loss)]))
    sampler.tell(Step([Turn(small)]))  # a batch that was skipped
    assert sampler.losses == {0: pytest.approx(MOMENTUM * 2 + (1 - MOMENTUM) * 4), 4: 1.0}
    assert sampler.watches_losses


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_loss_that_is_not_finite_is_not_learnt(loss):
    """It is told where the step is left out only when the later batches of it are over."""
    sampler = sampler_of(n_groups=5)
    child = sampler.next()
    for value in (2.0, loss):
        sampler.tell(Step([Turn(child)], losses=[torch.tensor(value)]))
    assert sampler.losses == {sampler.groups.of(child): 2.0}


def test_groups_without_valid_children_have_no_part():
    def few_skips(sample):
        return list(sample.values()).count("skip") <= 1

    sampler = sampler_of(n_groups=5, filter=few_skips)
    assert all(map(few_skips, children(sampler, 30)))
    gaps = sampler_of(n_groups=40)
    assert len(gaps.filled) == 5
    assert sum(gaps.probabilities.values()) == pytest.approx(1)
    gaps.restrict({"block_1": ["linear"]})
    assert len(gaps.filled) == 4
    assert all(child["block_1"] == "linear" for child in children(gaps, 20))


def test_goes_on_from_its_state():
    sampler, again = (sampler_of(ConvSpace, seed=seed) for seed in (0, 1))
    for _ in range(30):
        turns = sampler.turns(probe=None)
        loss = torch.tensor(float(sampler.groups.of(turns[0].child) ** 2))
        sampler.tell(Step(turns, losses=[loss]))
    again.load_state_dict(sampler.state_dict())
    assert again.probabilities == sampler.probabilities
    assert children(again, 10) == children(sampler, 10)
    sampler.reset(0)
    assert sampler.losses == {}


@pytest.mark.parametrize(
    ("make", "setting", "message"),
    [
        (FlatSpace, {}, "cost of the largest child is 60, as of the smallest; accepted are costs"),
        (ConvSpace, {"n_groups": 1}, "cost_groups is 1; accepted are whole numbers of at least 2"),
        (ConvSpace, {"temperature": 0}, "shift_temperature is 0; accepted are finite numbers ab"),
    ],
)
def test_what_cannot_be_grouped_is_refused(make, setting, message):
    with pytest.raises(ValueError, match=message):
        sampler_of(make, **setting)
