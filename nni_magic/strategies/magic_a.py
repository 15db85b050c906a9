r"""MAGIC-A: align every child's hidden states with those of the best child [Xu2022, Sec. 4].

.. math::
    L = L_{pred} + \lambda \sum_{n \in A} \mathrm{MSE}(H_n(\alpha^l), H_n(\alpha_t))

==================  ====================================================================
:math:`\alpha_t`    ``SupernetModule.child``: trained at step t, uniform as in SPOS
:math:`\alpha^l`    ``Anchor.sample``: the top-performing child
:math:`H_n`         output of layer n, residual and norm included
:math:`A`           every ``align_every`` layers, or ``aligned_layers``
:math:`\lambda`     ``alignment_weight``
==================  ====================================================================

After ``warmup_epochs`` on the prediction loss alone, ``anchor_candidates`` random children are
scored and the best becomes the anchor. Every ``anchor_interval`` steps the child just trained
challenges it; the better of the two, on the same weights and held-out batches, stays. A child that
is known to be good otherwise can be given as ``anchor`` instead.

Differences from the paper: it compares at every step (``anchor_interval=1``); with the defaults
the comparisons, two children on four batches in 100 steps, cost less than 3 % of training.

[Xu2022] Xu et al., Analyzing and Mitigating Interference in Neural Architecture Search.
"""

from __future__ import annotations

from typing import Any

import nni_bootstrap  # noqa: F401
from nni.mutable import Sample

from ..children.samples import check_sample
from ..samplers.base import Sampler
from ..support.errors import check_count, naming
from .aligned import AlignedStrategy, AnchoredModule

__all__ = ["MagicA"]


class AlignedSupernetModule(AnchoredModule):
    """Elects the first anchor, then lets children challenge it, unless it is given."""

    def __init__(
        self,
        training_module: Any,
        sampler: Sampler,
        *,
        anchor_interval: int,
        anchor_gradient: bool,
        anchor: Sample | None,
        **kwargs: Any,
    ) -> None:
        super().__init__(training_module, sampler, gradient=anchor_gradient, **kwargs)
        self.anchor_interval = anchor_interval
        self.given = anchor
        if anchor is not None:
            with naming("anchor"):
                check_sample(anchor, sampler.candidates)

    def renew_anchor(self) -> None:
        """Elect an anchor after the warm start, then compare it with the child just trained."""
        if self.anchor.sample is None:
            if self.trainer.current_epoch >= self.warmup_epochs:
                drawn = self.given is None
                self.anchor.elect(
                    self.draw_children(self.anchor_candidates, 2) if drawn else [self.given]
                )
        elif self.given is None and self.child is not None and self._challenge_is_due():
            self.anchor.challenge(self.child)

    def _challenge_is_due(self) -> bool:
        """Whether the optimizer has just made a step after which the anchor is compared."""
        step = self.trainer.global_step
        return step != self.child_step and step % self.anchor_interval == 0


class MagicA(AlignedStrategy):
    """Train a supernet whose children have hidden states like the best child's.

    Parameters
    ----------
    anchor
        A child to align to, in place of the best one that is found. It is replaced only when one of
        its candidates is deleted.
    anchor_gradient
        Let gradients through the anchor's pass too, for study.
    anchor_interval
        Optimizer steps between two comparisons of the child with the anchor.
    anchor_candidates
        Random children among which the first anchor is elected.
    **kwargs
        See :class:`nni_magic.strategies.aligned.AlignedStrategy`; with ``warmup_epochs`` over
        the first anchor is elected.
    """

    module_class = AlignedSupernetModule

    def __init__(
        self,
        *,
        anchor: Sample | None = None,
        anchor_gradient: bool = False,
        anchor_interval: int = 100,
        anchor_candidates: int = 16,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_count("anchor_interval", anchor_interval)
        check_count("anchor_candidates", anchor_candidates)
        self.alignment |= {
            "anchor": anchor,
            "anchor_gradient": anchor_gradient,
            "anchor_interval": anchor_interval,
            "anchor_candidates": anchor_candidates,
        }
