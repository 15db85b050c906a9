r"""AlphaNet: the sandwich rule, distilled with an adaptive α-divergence [Wang2021].

.. math::
    L_{KD}(p, q) = \max(D_{\alpha_-}(p \| q), D_{\alpha_+}(p \| q)), \qquad
    D_\alpha(p \| q) = \frac{1}{\alpha (\alpha - 1)}
        \sum_c q_c \left[ \left( \frac{p_c}{q_c} \right)^\alpha - 1 \right]

============================  ================================================================
:math:`p, q`                  probabilities of the largest child and of another one
:math:`\alpha_-, \alpha_+`    ``alpha_min``, ``alpha_max``; 1 is the Kullback-Leibler divergence
:math:`\beta`                 ``ratio_clip``, the most that :math:`(p_c / q_c)^\alpha` counts
============================  ================================================================

The larger divergence is taken row by row. A step trains the children of
:mod:`nni_magic.strategies.sandwich`, and costs the same: ``n_random`` + 2 passes.

Differences from the paper: those of the sandwich rule. As in the authors' code the ratio is
clipped in the divergence that is compared as well as in its gradient, and not at all for α = 1.

[Wang2021] Wang et al., AlphaNet: Improved Training of Supernets with Alpha-Divergence, ICML 2021.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from ..losses.distillation import Distillation, adaptive_divergence
from ..losses.term import LossTerm
from .sandwich import SandwichRule
from .turn_settings import AlphaNetSettings

__all__ = ["AlphaNet"]


class AlphaNet(SandwichRule):
    """Train a sandwich of children a step, distilled with an adaptive α-divergence.

    Parameters are those of :class:`nni_magic.strategies.by_cost.ByCost`, with
    :class:`nni_magic.strategies.turn_settings.AlphaNetSettings`.
    """

    settings_class = AlphaNetSettings
    settings: AlphaNetSettings

    def make_terms(self) -> Sequence[LossTerm]:
        own = self.settings
        divergence = partial(
            adaptive_divergence, alpha_min=own.alpha_min, alpha_max=own.alpha_max,
            ratio_clip=own.ratio_clip,
        )  # fmt: skip
        return [Distillation(divergence, mask_argument=own.mask_argument)]
