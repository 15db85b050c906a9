"""Samples of a mixture's weights: their noise and their temperature."""

import pytest
import torch
from mixtures import run

from nni_magic.strategies.differentiable.sampling import generator_of

torch.set_num_threads(1)


def test_noise_of_a_step_is_told_by_seed_and_step():
    first, again, other = (
        torch.rand(3, generator=generator_of(*seed)) for seed in [(1, 1, 2), (1, 1, 2), (1, 1, 3)]
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_temperature_falls_linearly_from_epoch_to_epoch():
    strategy, _ = run("gaea_gdas", temperature=4.0, final_temperature=1.0)
    assert strategy._mixing.temperature == pytest.approx(4.0 - 2 / 3 * 3.0)
