"""GAEA: where it begins, what it is for, and its variant that samples."""

import pytest
import torch
from mixtures import make, run
from spaces import FlatSpace

from nni_magic.strategies.differentiable.gaea import generator_of

torch.set_num_threads(1)


def test_begins_in_the_middle_of_the_simplex():
    strategy = make("gaea")
    strategy.mutate_model(FlatSpace(2, 5))
    for each in strategy.architecture.parameters:
        assert each.tolist() == pytest.approx([0.2] * 5)


def test_larger_rate_makes_theta_sparser():
    entropies = [
        run("gaea", arc_learning_rate=rate, trainer={"epochs": 1})[1].summaries[-1]["entropy"]
        for rate in (0.1, 10.0)
    ]
    assert entropies[1] < entropies[0] - 0.01


def test_temperature_falls_linearly_from_epoch_to_epoch():
    strategy, _ = run("gaea_gdas", temperature=4.0, final_temperature=1.0)
    assert strategy._mixing.temperature == pytest.approx(4.0 - 2 / 3 * 3.0)


def test_noise_of_a_step_is_told_by_seed_and_step():
    first, again, other = (
        torch.rand(3, generator=generator_of(*seed)) for seed in [(1, 1, 2), (1, 1, 2), (1, 1, 3)]
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
