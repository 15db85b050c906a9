"""Functions that score children, many at a time, and what they give."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from nni.mutable import Sample

from ..support.modes import Mode, mode_of

__all__ = ["Score", "checked_scores", "direction"]

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


def direction(score: Score, mode: Mode | None) -> Mode:
    """Give the mode, or that of the score where none is given.

    A score without such an attribute, such as a plain function, goes either way, by default
    ``min``.

    Raises
    ------
    ValueError
        If there is no such mode, or a score says by its ``mode`` that the other direction is
        better.
    """
    own = getattr(score, "mode", None)
    chosen = mode_of(None, own if mode is None else mode)
    if own not in (None, chosen):
        raise ValueError(f"mode is {mode!r}, but that of the score is {own!r}")
    return chosen
