r"""MAGIC-A with an anchor of a chosen quality, for analysis [Xu2022, Sec. 5.2 and Fig. 3b].

The loss is that of :mod:`nni_magic.strategies.magic_a`. The anchor is not the best child but the
one at the top ``percentile`` % of ``anchor_candidates`` random children. They are drawn and scored
when the warm start ends and at the end of every epoch. The anchor stays while its own rank among
the new scores is within ``percentile`` ± ``tolerance`` %, so that it does not change every time.

Differences from the paper: it scores 10,000 children, which needs ``score_children``; the last
epoch's end, behind which nothing is trained, is left out.

[Xu2022] Xu et al., Analyzing and Mitigating Interference in Neural Architecture Search.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import nni_bootstrap  # noqa: F401
from nni.mutable import Sample

from ..losses.targets import AnchorTarget
from ..losses.term import LossTerm, TrainingSupernet
from ..samplers.streams import Stream
from .aligned import alignment
from .base import SupernetStrategy
from .settings import PercentileAnchorSettings

__all__ = ["ChildAtPercentile", "PercentileAnchor"]

ScoreChildren = Callable[[Any, Sequence[Sample]], Sequence[float]]


class ChildAtPercentile(AnchorTarget):
    """A child of a chosen quality, elected before the first step of every epoch.

    Parameters
    ----------
    settings
        Of the strategy.
    score_children
        As for the strategy.
    """

    def __init__(
        self, settings: PercentileAnchorSettings, score_children: ScoreChildren | None
    ) -> None:
        super().__init__(settings.anchor_candidates)
        self.percentile = settings.percentile
        self.tolerance = settings.tolerance
        self.score_children = score_children
        self.elected_epoch = -1

    def begin(self, module: TrainingSupernet) -> None:
        super().begin(module)
        if not module.resumes:
            self.elected_epoch = -1

    def renew_anchor(self) -> None:
        """Elect an anchor, once an epoch after the warm start."""
        epoch = self.module.trainer.current_epoch
        if epoch < self.warmup_epochs or epoch == self.elected_epoch:
            return
        self.elected_epoch = epoch
        score_all = self.score_children and partial(self.score_children, self.module)
        self.anchor.elect_at(
            self.percentile,
            self.module.draw_children(self.candidates, Stream.PERCENTILE, epoch),
            tolerance=self.tolerance,
            score_all=score_all,
        )
        self.module.router.forget()  # score_children may have set paths by itself

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "elected_epoch": self.elected_epoch}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self.elected_epoch = state["elected_epoch"]


class PercentileAnchor(SupernetStrategy):
    """Train a supernet whose children have hidden states like those of a top ``percentile`` % one.

    Parameters
    ----------
    score_children
        Given the Lightning module and samples, scores them; by default the module's own scorer
        does, one child after the other. For many children, with a fast scorer::

            def score_children(module, children):
                return ChildEvaluator.in_training(module.scorer)(children)

    filter, **kwargs
        See :class:`nni_magic.strategies.base.SupernetStrategy`, with
        :class:`nni_magic.strategies.settings.PercentileAnchorSettings`. The first
        anchor is elected after ``warmup_epochs``.
    """

    settings_class = PercentileAnchorSettings
    settings: PercentileAnchorSettings

    def __init__(
        self, filter: Any = None, *, score_children: ScoreChildren | None = None, **kwargs: Any
    ) -> None:
        if score_children is not None and not callable(score_children):
            raise TypeError(f"score_children is {score_children!r}; accepted are functions")
        super().__init__(filter, **kwargs)
        self.score_children = score_children

    def make_terms(self) -> Sequence[LossTerm]:
        target = ChildAtPercentile(self.settings, self.score_children)
        return [alignment(self.settings, target)]
