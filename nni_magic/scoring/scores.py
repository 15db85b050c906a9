"""Functions that score children, many at a time, and what they give."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from nni.mutable import Sample

from .scorer import Mode

__all__ = ["Score", "check_direction", "checked_scores"]

Score = Callable[[Sequence[Sample]], Iterable[float]]
"""Scores children: one score for each sample, in the order of the samples."""


def checked_scores(samples: Sequence[Sample], scores: Iterable[float]) -> list[float]:
    """Make floats of the scores of some samples.

    Raises
    ------
    ValueError
        If there is not one score for each sample.

    Examples
    --------
    >>> checked_scores([{"op": "conv"}, {"op": "skip"}], (score for score in (1, 2.5)))
    [1.0, 2.5]
    """
    given = [float(score) for score in scores]
    if len(given) != len(samples):
        raise ValueError(f"there are {len(given)} scores for {len(samples)} samples")
    return given


def check_direction(score: Score, mode: Mode) -> None:
    """Raise a ``ValueError`` if a score says by its ``mode`` that the other direction is better.

    A score without such an attribute, such as a plain function, goes either way.
    """
    own = getattr(score, "mode", mode)
    if own != mode:
        raise ValueError(f"mode is {mode!r}, but that of the score is {own!r}")
