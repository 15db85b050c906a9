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

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import nni_bootstrap  # noqa: F401
from nni.mutable import Sample

from ..samplers.base import Sampler
from ..support.errors import check_count
from .aligned import AlignedStrategy, AnchoredModule

__all__ = ["PercentileAnchor"]

ScoreChildren = Callable[[Any, Sequence[Sample]], Sequence[float]]


class PercentileModule(AnchoredModule):
    """Elects the anchor before the first step of every epoch."""

    def __init__(
        self,
        training_module: Any,
        sampler: Sampler,
        *,
        percentile: float,
        tolerance: float,
        score_children: ScoreChildren | None,
        **kwargs: Any,
    ) -> None:
        super().__init__(training_module, sampler, **kwargs)
        self.percentile = percentile
        self.tolerance = tolerance
        self.score_children = score_children
        self.elected_epoch = -1

    def on_fit_start(self) -> None:
        if not self.replay.pending:
            self.elected_epoch = -1
        return super().on_fit_start()

    def renew_anchor(self) -> None:
        """Elect an anchor, once an epoch after the warm start."""
        epoch = self.trainer.current_epoch
        if epoch < self.warmup_epochs or epoch == self.elected_epoch:
            return
        self.elected_epoch = epoch
        score_all = self.score_children and partial(self.score_children, self)
        self.anchor.elect_at(
            self.percentile,
            self.draw_children(self.anchor_candidates, 5, epoch),
            tolerance=self.tolerance,
            score_all=score_all,
        )
        self._routed = {}  # score_children may have set paths without this module

    def state(self) -> dict[str, Any]:
        return {**super().state(), "elected_epoch": self.elected_epoch}

    def load_state(self, state: dict[str, Any]) -> None:
        super().load_state(state)
        self.elected_epoch = state["elected_epoch"]


class PercentileAnchor(AlignedStrategy):
    """Train a supernet whose children have hidden states like those of a top ``percentile`` % one.

    Parameters
    ----------
    percentile
        p, the quality of the anchor: from 0, the best child, to 100, the worst.
    tolerance
        r, how far from p the anchor may come before it is replaced, in percent.
    anchor_candidates
        Random children that are scored every epoch.
    score_children
        Given the Lightning module and samples, scores them; by default the module's own scorer
        does, one child after the other. For many children, with a fast scorer::

            def score_children(module, children):
                return ChildEvaluator.in_training(module.scorer)(children)

    **kwargs
        See :class:`nni_magic.strategies.aligned.AlignedStrategy`; with ``warmup_epochs`` over
        the first anchor is elected.
    """

    module_class = PercentileModule

    def __init__(
        self,
        *,
        percentile: float = 0,
        tolerance: float = 10,
        anchor_candidates: int = 100,
        score_children: ScoreChildren | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        for name, value in (("percentile", percentile), ("tolerance", tolerance)):
            if not 0 <= value <= 100:
                raise ValueError(f"{name} is {value!r}; accepted are percents from 0 to 100")
        check_count("anchor_candidates", anchor_candidates)
        self.alignment |= {
            "percentile": percentile,
            "tolerance": tolerance,
            "anchor_candidates": anchor_candidates,
            "score_children": score_children,
        }
