r"""Sandwich rule with in-place distillation, as in BigNAS [Yu2020].

.. math::
    L = L_{pred}(\alpha_{max}) + \sum_{\alpha \in \{\alpha_{min}, \alpha_1 \dots \alpha_n\}}
        L_{KD}(p(\alpha_{max}), q(\alpha))

=======================  =====================================================================
:math:`\alpha_{max}`     the first of ``SupernetModule.turns``: the valid child of most cost
:math:`\alpha_{min}`     the second: the one of least cost
:math:`\alpha_i`         the others: ``n_random`` uniform children
:math:`L_{KD}`           :func:`nni_magic.losses.distillation.soft_cross_entropy`
=======================  =====================================================================

All see the same batch; the largest learns from the labels, the others from its soft output, and the
gradients are summed. A step costs ``n_random`` + 2 forward and backward passes.

Differences from the paper: a child is large by its cost, the number of its parameters unless
another one is given, where BigNAS has spaces in which every label has a largest choice; BigNAS's
initialisation, constant ending of the learning rate, and regularisation of the largest child alone
are the evaluator's business. With a temperature T other than 1 the term is multiplied by its
square.

[Yu2020] Yu et al., BigNAS: Scaling Up Neural Architecture Search with Big Single-Stage Models, ECCV
2020.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import nni_bootstrap  # noqa: F401
from nni.nas.nn.pytorch import ModelSpace

from ..losses.distillation import Distillation, soft_cross_entropy
from ..losses.term import LossTerm
from ..samplers.base import Sampler
from ..samplers.sandwich import SandwichSampler
from .by_cost import ByCost
from .several import SeveralTurns
from .turn_settings import DistillationSettings, SandwichSettings

__all__ = ["Sandwich", "SandwichRule"]


class SandwichRule(ByCost, SeveralTurns):
    """Train the largest, the smallest and random children a step; a method says how they learn.

    Parameters are those of :class:`nni_magic.strategies.by_cost.ByCost`, with
    :class:`nni_magic.strategies.turn_settings.DistillationSettings`.
    """

    settings_class = DistillationSettings
    settings: DistillationSettings

    def make_sampler(self, space: ModelSpace) -> Sampler:
        return SandwichSampler(
            space, seed=self.seed, filter=self.filter, cost=self.cost_in(space),
            n_random=self.settings.n_random,
        )  # fmt: skip


class Sandwich(SandwichRule):
    """Train the largest, the smallest and random children a step; the largest teaches the others.

    Parameters are those of :class:`nni_magic.strategies.by_cost.ByCost`, with
    :class:`nni_magic.strategies.turn_settings.SandwichSettings`.
    """

    settings_class = SandwichSettings
    settings: SandwichSettings

    def make_terms(self) -> Sequence[LossTerm]:
        divergence = partial(soft_cross_entropy, temperature=self.settings.temperature)
        return [Distillation(divergence, mask_argument=self.settings.mask_argument)]
