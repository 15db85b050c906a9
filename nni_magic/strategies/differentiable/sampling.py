"""Samples of a mixture's weights, step by step: their noise, and how their temperature falls."""

from __future__ import annotations

from enum import IntEnum

import nni_bootstrap  # noqa: F401
import numpy as np
import torch
from nni.nas.oneshot.pytorch.differentiable import LinearTemperatureScheduler

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
    """Draw the samples of a step: the seed and its number tell them."""
    trainer = module.trainer
    schedule = LinearTemperatureScheduler(settings.temperature, settings.final_temperature)
    total = trainer.max_epochs if trainer.max_epochs not in (None, -1) else None
    mixing.temperature = schedule.step(trainer.current_epoch, total)
    noise = generator_of(module.seed, Stream.NOISE, trainer.global_step)
    mixing.draw(module.architecture.parameters, noise)


def generator_of(*seed: int) -> torch.Generator:
    """A generator that begins where these numbers say."""
    [word] = np.random.SeedSequence(seed).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(word) % 2**63)
