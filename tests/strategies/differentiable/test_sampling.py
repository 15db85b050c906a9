"""Samples of a mixture's weights: their noise and their temperature."""

import math
from dataclasses import replace

import pytest
import torch
from mixtures import run

from nni_magic.strategies.differentiable.sampling import generator_of, temperature_of
from nni_magic.strategies.differentiable.settings import GaeaSettings

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


def test_temperature_falls_over_the_epochs_that_the_steps_make():
    settings = {"temperature": 4.0, "final_temperature": 1.0}
    trainer = {"epochs": -1, "max_steps": 7}  # of 6 an epoch
    strategy, _ = run("gaea_gdas", "two", trainer=trainer, **settings)
    assert strategy._mixing.temperature == pytest.approx(4.0 - 1 / 2 * 3.0)


def test_temperature_of_a_training_without_an_end():
    settings = GaeaSettings(base="gdas", temperature=2.0, final_temperature=1.0)
    message = "neither max_epochs nor max_steps of the trainer is set; .* final_temperature of 2.0"
    with pytest.raises(ValueError, match=message):
        temperature_of(settings, 0, math.inf)
    assert temperature_of(replace(settings, final_temperature=2.0), 7, math.inf) == 2.0
