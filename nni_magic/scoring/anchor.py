"""Keep the top-performing child model, to which MAGIC-A aligns the others [Xu2022]."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from nni.mutable import Sample

from ..children.samples import digest
from ..support.modes import Mode
from .scorer import better

__all__ = ["Anchor"]

_logger = logging.getLogger(__name__)


class Anchor:
    """The best child known, replaced when another is strictly better.

    A score is only as good as the weights it was taken with. So whenever two children are
    compared, both are scored at that moment; a stored score is for reading, never for comparing.

    Parameters
    ----------
    score
        Scores a child on the held-out batches, with the weights as they are.
    mode
        Whether a smaller (``min``) or a larger (``max``) score is better.

    Attributes
    ----------
    sample : dict or None
        The anchor, or none before the first election.
    last_score : float
        The anchor's score when it was last taken; not-a-number before.
    replacements : int
        How often another child took the anchor's place.
    """

    def __init__(self, score: Callable[[Sample], float], mode: Mode) -> None:
        self.score = score
        self.mode = mode
        self.sample: Sample | None = None
        self.last_score = float("nan")
        self.replacements = 0

    def elect(self, children: Iterable[Sample]) -> None:
        """Make the best of some children the anchor; of equals the first."""
        self.sample, self.last_score = None, float("nan")
        for child in children:
            score = self.score(child)
            if self.sample is None or better(score, self.last_score, self.mode):
                self.sample, self.last_score = child, score
        if self.sample is None:
            raise ValueError("children is empty; an anchor is elected from at least one")
        _logger.info("Anchor %s elected, score %.6g", digest(self.sample), self.last_score)

    def challenge(self, child: Sample) -> bool:
        """Score the anchor and a child on the same weights; the strictly better one stays.

        Returns
        -------
        bool
            Whether the child is the anchor from now on.
        """
        assert self.sample is not None, "elect an anchor first"
        self.last_score = self.score(self.sample)
        if child == self.sample:
            return False
        score = self.score(child)
        if not better(score, self.last_score, self.mode):
            return False
        _logger.info(
            "Anchor %s (%.6g) replaced by %s (%.6g)",
            digest(self.sample), self.last_score, digest(child), score,
        )  # fmt: skip
        self.sample, self.last_score = child, score
        self.replacements += 1
        return True

    def elect_at(
        self,
        percentile: float,
        children: Sequence[Sample],
        *,
        tolerance: float,
        score_all: Callable[[Sequence[Sample]], Sequence[float]] | None = None,
    ) -> bool:
        """Make the child at the top ``percentile`` % the anchor, unless the anchor is near it.

        Parameters
        ----------
        percentile
            From 0, the best of the children, to 100, the worst.
        children
            Samples, one at least, among which ranks are taken.
        tolerance
            The anchor stays while not further than this from ``percentile``.
        score_all
            Scores many children, and the anchor, with the weights as they are; by default one
            after the other.

        Returns
        -------
        bool
            Whether another child is the anchor from now on.
        """
        if not children:
            raise ValueError("children is empty; an anchor is elected from at least one")
        held = [] if self.sample is None else [self.sample]
        ranked = [*held, *children]
        found = map(self.score, ranked) if score_all is None else score_all(ranked)
        scores = [float(score) for score in found]
        if held:
            self.last_score = scores.pop(0)
            ahead = sum(better(score, self.last_score, self.mode) for score in scores)
            if abs(100 * ahead / len(children) - percentile) <= tolerance:
                return False
        place = min(int(percentile * len(children) / 100), len(children) - 1)
        chosen = sorted(range(len(children)), key=lambda i: self._rank(scores[i]))[place]
        replaced = children[chosen] != self.sample
        self.replacements += bool(held) and replaced
        self.sample, self.last_score = children[chosen], scores[chosen]
        _logger.info(
            "Anchor %s at the top %g %%, score %.6g",
            digest(self.sample), percentile, self.last_score,
        )  # fmt: skip
        return replaced

    def _rank(self, score: float) -> tuple[bool, float]:
        """Sorts scores, best first and not-a-number last."""
        return math.isnan(score), score if self.mode == "min" else -score

    def state_dict(self) -> dict[str, Any]:
        """The anchor in plain types."""
        return {
            "sample": self.sample,
            "last_score": self.last_score,
            "replacements": self.replacements,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where :meth:`state_dict` was taken."""
        self.sample = state["sample"]
        self.last_score = state["last_score"]
        self.replacements = state["replacements"]
