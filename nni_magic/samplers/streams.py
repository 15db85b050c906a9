"""Random children beside those that are trained, a stream of randomness for each use."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from nni.mutable import Mutable, Sample

from .base import Sampler
from .uniform import UniformSampler

__all__ = ["ChildDraws", "Stream"]


class Stream(IntEnum):
    """What children are drawn for; the numbers are part of every seeded run, and never change."""

    PANEL = 1
    """Children that validation scores."""
    ANCHOR = 2
    """Children among which the first anchor is elected."""
    COVERING = 3
    """Children that together hold all candidates, to check the shapes of hidden states."""
    SHRINKING = 4
    """Children whose scores give the promise of candidates, in progressive shrinking."""
    PERCENTILE = 5
    """Children among which an anchor of a chosen quality is found."""
    AVERAGE = 6
    """Children whose hidden states are averaged."""
    BASELINES = 7
    """Random children that are trained from scratch beside those that are found."""
    ROWS = 8
    """No children, but the rows of the training data that an epoch reads."""


class ChildDraws:
    """Draws valid children uniformly: the same from the same seed, stream and place.

    Parameters
    ----------
    space
        The supernet.
    trained
        The sampler of the training, whose constraint and candidates hold for these children too;
        where it trains some children alone, they are drawn from these.
    """

    def __init__(self, space: Mutable, trained: Sampler) -> None:
        self._space = space
        self._trained = trained
        self._uniform: UniformSampler | None = None

    def __call__(self, n: int, seed: int, stream: Stream, *place: int) -> list[Sample]:
        """Draw children, distinct where the space allows, fewer where it has no more.

        Parameters
        ----------
        n
            How many.
        seed, stream, place
            Where to begin: the run's seed, what the children are for, and, where it happens again
            and again, when (such as the epoch).
        """
        if (only := self._trained.children) is not None:
            order = np.random.default_rng([seed, int(stream), *place]).permutation(len(only))
            return [dict(only[i]) for i in order[:n]]
        sampler = self._sampler()
        sampler.reset([seed, int(stream), *place])
        drawn: dict[str, Sample] = {}
        for _ in range(10 * n):
            child = sampler.next()
            drawn.setdefault(sampler.name(child), child)
            if len(drawn) == n:
                break
        return list(drawn.values())

    def _sampler(self) -> UniformSampler:
        """Give the sampler, made anew only after deletions: making one takes milliseconds."""
        if self._uniform is None or self._uniform.candidates != self._trained.candidates:
            self._uniform = UniformSampler(self._space, seed=0, filter=self._trained.filter)
            self._uniform.restrict(self._trained.candidates)
        return self._uniform
