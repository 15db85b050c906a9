r"""MAGIC-A: align every child's hidden states with those of the best child [Xu2022, Sec. 4].

.. math::
    L = L_{pred} + \lambda \sum_{n \in A} d(H_n(\alpha^l), H_n(\alpha_t))

==================  ====================================================================
:math:`\alpha_t`    ``SupernetModule.child``: trained at step t, uniform as in SPOS
:math:`\alpha^l`    ``BestChild.anchor``: the top-performing child
:math:`H_n`         output of layer n, residual and norm included
:math:`A`           every fourth layer but the last one, or ``aligned_layers``
:math:`d`           ``alignment_error``: one minus the cosine of the states of an example
:math:`\lambda`     ``alignment_weight``
==================  ====================================================================

After ``warmup_epochs`` on the prediction loss alone, ``anchor_candidates`` random children are
scored and the best becomes the anchor. Every ``anchor_interval`` steps the child just trained
challenges it; the better of the two, on the same weights and held-out batches, stays. A child that
is known to be good otherwise can be given as ``anchor`` instead.

Differences from the paper: its *d* is the mean squared error (``alignment_error="mse"``), which
presumes states of one scale. Without normalisation it grows with the states, and on three of four
small spaces children were better with the cosine (``experiments.studies.floor``). It begins after
three epochs (``warmup_epochs=3``), and here after half of them, which did better on the BERT
space there and a little worse on the others. It compares at every step (``anchor_interval=1``);
here two children are scored on four batches every 100 steps. Every 50 steps that was measured to
take 1 to 4 % of the time of training.

[Xu2022] Xu et al., Analyzing and Mitigating Interference in Neural Architecture Search.
"""

from __future__ import annotations

from collections.abc import Sequence

import nni_bootstrap  # noqa: F401
from nni.mutable import Sample

from ..children.json_samples import in_space
from ..children.samples import candidates
from ..losses.targets import AnchorTarget
from ..losses.term import LossTerm, TrainingSupernet
from ..samplers.streams import Stream
from ..support.errors import naming
from .aligned import alignment
from .base import SupernetStrategy
from .settings import MagicASettings

__all__ = ["BestChild", "MagicA"]


class BestChild(AnchorTarget):
    """The best child known, which others challenge, unless it is given.

    Parameters
    ----------
    settings
        Of MAGIC-A.
    """

    def __init__(self, settings: MagicASettings) -> None:
        super().__init__(settings.anchor_candidates)
        self.interval = settings.anchor_interval
        self.given: Sample | None = settings.anchor and dict(settings.anchor)

    def begin(self, module: TrainingSupernet) -> None:
        super().begin(module)
        if self.given is not None:
            with naming("anchor"):  # of all candidates: some may be deleted where a fit resumes
                self.given = in_space(self.given, candidates(module.model))

    def renew_anchor(self) -> None:
        """Elect an anchor after the warm start, then compare it with the child just trained."""
        module = self.module
        if not self.ready:
            if module.trainer.current_epoch >= self.warmup_epochs:
                self.anchor.elect(
                    module.draw_children(self.candidates, Stream.ANCHOR)
                    if self.given is None
                    else [self.given]
                )
        elif self.given is None and module.child is not None and self._challenge_is_due():
            self.anchor.challenge(module.child)

    def _challenge_is_due(self) -> bool:
        """Whether the optimizer has just made a step after which the anchor is compared."""
        step = self.module.trainer.global_step
        return step != self.module.child_step and step % self.interval == 0


class MagicA(SupernetStrategy):
    """Train a supernet whose children have hidden states like the best child's.

    Parameters are those of :class:`nni_magic.strategies.base.SupernetStrategy`, with
    :class:`nni_magic.strategies.settings.MagicASettings`. The first anchor is elected after
    ``warmup_epochs``.
    """

    settings_class = MagicASettings
    settings: MagicASettings

    def make_terms(self) -> Sequence[LossTerm]:
        target = BestChild(self.settings)
        return [alignment(self.settings, target, gradient=self.settings.anchor_gradient)]
