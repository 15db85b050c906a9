"""Samples of a mixture's weights, step by step: their noise, and how their temperature falls."""

from __future__ import annotations

import math
from enum import IntEnum

import nni_bootstrap  # noqa: F401
import numpy as np
import torch
from nni.nas.oneshot.pytorch.differentiable import LinearTemperatureScheduler

from ...supernet.epochs import epochs_in_all
from .module import MixtureModule
from .settings import TemperatureSettings
from .simplex import Sampled

__all__ = ["Stream", "draw_samples", "generator_of"]


class Stream(IntEnum):
    """Random streams of a mixture's training, beside the run's seed."""

    NOISE = 1
    DROPS = 2
    ORDER = 3
    PATHS = 4


def draw_samples(mixing: Sampled, settings: TemperatureSettings, module: MixtureModule) -> None:
    """Draw the samples of a step: the seed and its number tell them.

    Raises
    ------
    ValueError
        If the temperature is to fall, and the training has no end.
    """
    trainer = module.trainer
    mixing.temperature = temperature_of(settings, trainer.current_epoch, epochs_in_all(trainer))
    noise = generator_of(module.seed, Stream.NOISE, trainer.global_step)
    mixing.draw(module.architecture.parameters, noise)


def temperature_of(settings: TemperatureSettings, epoch: int, epochs: float) -> float:
    """The temperature of an epoch of so many, as of NNI's ``GumbelDARTS``."""
    if epochs == math.inf:
        if settings.temperature == settings.final_temperature:
            return settings.temperature
        raise ValueError(
            "neither max_epochs nor max_steps of the trainer is set; accepted is an end, to which "
            f"the temperature falls, or a final_temperature of {settings.temperature!r}, too"
        )
    schedule = LinearTemperatureScheduler(settings.temperature, settings.final_temperature)
    return float(schedule.step(epoch, int(epochs)))


def generator_of(*seed: int) -> torch.Generator:
    """A generator that begins where these numbers say."""
    [word] = np.random.SeedSequence(seed).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(word) % 2**63)
