r"""Delayed shrinking, DεpS: the largest child alone, then a sandwich that comes in softly [1].

.. math::
    L = L_{pred}(\alpha_{max}) + r(s) \sum_\alpha L_{KD}(p(\alpha_{max}), q(\alpha)), \qquad
    r(s) = \begin{cases} 0 & s < \delta \\
    \min(1, \epsilon + (1 - \epsilon) (s - \delta) / \rho) & s \ge \delta \end{cases}

==================  ====================================================================
:math:`s`           share of the training's optimizer steps that are made
:math:`\delta`      ``delay``; before, a step trains the largest child and nothing else
:math:`\epsilon`    ``epsilon``
:math:`\rho`        ``rise``
==================  ====================================================================

The children :math:`\alpha` and their loss are those of :mod:`nni_magic.strategies.sandwich`. A step
costs one forward and backward pass, and ``n_random`` + 2 after the delay.

Differences from the paper: it raises the learning rate of the smaller children from ε; a weight of
their loss is that under SGD, and other optimizers, which normalise the sum of the gradients, take
it as the smaller children's part. How long it rises is settled here: for a tenth of the training.

[1] Annavajjala et al., DεpS: Delayed ε-Shrinking for Faster Once-For-All Training, ECCV 2024.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import nni_bootstrap  # noqa: F401
from nni.nas.nn.pytorch import ModelSpace
from torch import Tensor

from ..losses.distillation import Distillation, soft_cross_entropy
from ..losses.term import LossTerm
from ..samplers.base import Sampler
from ..samplers.delayed import DelayedSampler
from ..supernet.epochs import progress_of
from ..supernet.step import Step, Turn
from .sandwich import Sandwich
from .turn_settings import DelayedShrinkingSettings

__all__ = ["DelayedShrinking", "RisingDistillation", "share"]


def share(progress: float, settings: DelayedShrinkingSettings) -> float:
    """Weight r of the smaller children's losses when a share of the training is over.

    Examples
    --------
    >>> own = DelayedShrinkingSettings(delay=0.5, epsilon=0.2, rise=0.4)
    >>> [round(share(s, own), 3) for s in (0.5, 0.7, 0.9, 1.0)]
    [0.2, 0.6, 1.0, 1.0]
    """
    since = progress - settings.delay
    if since >= settings.rise:
        return 1.0
    return settings.epsilon + (1 - settings.epsilon) * since / settings.rise


class RisingDistillation(Distillation):
    """The distillation term with a weight that rises.

    Parameters
    ----------
    settings
        Of delayed shrinking.
    """

    def __init__(self, settings: DelayedShrinkingSettings) -> None:
        divergence = partial(soft_cross_entropy, temperature=settings.temperature)
        super().__init__(divergence, mask_argument=settings.mask_argument)
        self.settings = settings

    def begin(self, module: Any) -> None:
        super().begin(module)
        self._trainer = module.trainer

    def started(self) -> None:
        """Make sure that the training has an end, by which its share is told."""
        progress_of(self._trainer)

    def __call__(self, step: Step, turn: Turn) -> Tensor | None:
        value = super().__call__(step, turn)
        return None if value is None else share(progress_of(self._trainer), self.settings) * value


class DelayedShrinking(Sandwich):
    """Train the largest child alone, and after a delay a sandwich of children.

    Parameters are those of :class:`nni_magic.strategies.by_cost.ByCost`, with
    :class:`nni_magic.strategies.turn_settings.DelayedShrinkingSettings`.
    """

    settings_class = DelayedShrinkingSettings
    settings: DelayedShrinkingSettings

    def make_sampler(self, space: ModelSpace) -> Sampler:
        own = self.settings
        return DelayedSampler(
            space, seed=self.seed, filter=self.filter, cost=self.cost_in(space),
            n_random=own.n_random, delay=own.delay,
        )  # fmt: skip

    def make_terms(self) -> Sequence[LossTerm]:
        return [RisingDistillation(self.settings)]
