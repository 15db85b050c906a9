"""A child together with its score."""

from __future__ import annotations

from typing import NamedTuple

from nni.mutable import Sample

__all__ = ["ScoredChild"]


class ScoredChild(NamedTuple):
    """A child and its score, as leaderboards, searches, pipelines and exports hand them on.

    Parameters
    ----------
    sample
        The child: label to choice.
    score
        The metric with the weights that it inherits; the strategy's ``mode`` says which way is
        better.
    """

    sample: Sample
    score: float
