"""The best child models known, with their scores."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cmp_to_key

from nni.mutable import Sample

from ..children.samples import digest
from ..support.modes import Mode
from .scored import ScoredChild
from .scorer import better

__all__ = ["Leaderboard"]


class Leaderboard:
    """Remembers scored children, best first, and scores them anew when the weights have moved.

    Parameters
    ----------
    score
        Scores a child with the weights as they are.
    mode
        Whether a smaller (``min``) or a larger (``max``) score is better.
    size
        Children kept. While training goes on this is a shortlist by the scores taken last, which
        were taken with different weights; :meth:`rescore` makes them comparable.
    name
        Names a child; samples of one name are one child.
    """

    def __init__(
        self,
        score: Callable[[Sample], float],
        mode: Mode,
        size: int = 32,
        name: Callable[[Sample], str] = digest,
    ) -> None:
        self._score = score
        self.mode = mode
        self.name = name
        self.size = size
        self._scores: dict[str, ScoredChild] = {}

    def score(self, sample: Sample) -> float:
        """Score a child with the weights as they are, and remember it."""
        score = self._score(sample)
        self._scores[self.name(sample)] = ScoredChild(sample, score)
        if len(self._scores) > 2 * self.size:
            self.load(self.ranked()[: self.size])
        return score

    def rescore(self, also: Iterable[Sample] = ()) -> None:
        """Score all children known, and some others, with the weights as they are."""
        children = [*also, *(known.sample for known in self.ranked()[: self.size])]
        self._scores = {}
        for child in {self.name(child): child for child in children}.values():
            self.score(child)

    def known(self) -> list[ScoredChild]:
        """Children and their scores in the order in which they became known, for :meth:`load`."""
        return list(self._scores.values())

    def ranked(self) -> list[ScoredChild]:
        """Children and their scores, best first; of equals the one known first."""

        def compare(a: ScoredChild, b: ScoredChild) -> int:
            return better(b.score, a.score, self.mode) - better(a.score, b.score, self.mode)

        return sorted(self._scores.values(), key=cmp_to_key(compare))

    def load(self, children: Iterable[tuple[Sample, float]]) -> None:
        """Take over what :meth:`known` gave, or the best of it."""
        self._scores = {self.name(sample): ScoredChild(sample, score) for sample, score in children}
