"""Kendall's tau of many resamples of children at once, and checks of what is resampled."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["checked", "draws", "percentiles", "resampled_taus", "tails"]

FEWEST_CHILDREN = 3  # two children give a tau of 1 or -1, whatever the scores are worth
FEWEST_DRAWS = 100


def checked(name: str, values: ArrayLike, *shape: int | None, children: int = -1) -> np.ndarray:
    """Check numbers that rank children: their shape, and that there is a ranking at all.

    Parameters
    ----------
    name
        What the numbers are, for errors.
    values
        The numbers.
    shape
        Length wanted of every axis, None where any will do.
    children
        The axis along which the children are.

    Returns
    -------
    ndarray
        The numbers as floats.

    Raises
    ------
    ValueError
        If the shape is another, there are fewer than three children, a number is not finite, or
        all children have the same.

    Examples
    --------
    >>> checked("scores", [1, 2, 2], None)
    array([1., 2., 2.])
    """
    array = np.asarray(values, dtype=float)
    fits = array.ndim == len(shape) and all(
        wanted in (None, length) for wanted, length in zip(shape, array.shape, strict=True)
    )
    if not fits:
        raise ValueError(f"{name} has shape {array.shape}; {shape} is needed, None being any")
    if (n := array.shape[children]) < FEWEST_CHILDREN:
        raise ValueError(f"{name} has {n} children; a ranking needs at least {FEWEST_CHILDREN}")
    if not (finite := np.isfinite(array)).all():
        first = np.argwhere(~finite)[0].tolist()
        raise ValueError(f"{name}{first} is {array[tuple(first)]}; it must be finite")
    if (np.ptp(array, axis=children) == 0).any():
        raise ValueError(f"{name} is the same for all children, so tau is undefined")
    return array


def draws(n: int, n_resamples: int, rng: np.random.Generator) -> np.ndarray:
    """How often each of n is in each resample of n with replacement, ``(resamples, n)``.

    Raises
    ------
    ValueError
        If there are too few resamples for an interval.
    """
    if n_resamples < FEWEST_DRAWS:
        raise ValueError(f"n_resamples is {n_resamples}; an interval needs at least {FEWEST_DRAWS}")
    return rng.multinomial(n, np.full(n, 1 / n), size=n_resamples).astype(float)


def resampled_taus(truth: np.ndarray, scores: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Kendall's tau-b of every resample.

    With the signs of all pairs in a matrix, numerator and denominator of tau are quadratic forms
    of how often each child was drawn. A pair of a child with itself has the sign 0.

    Parameters
    ----------
    truth
        ``(n,)``.
    scores
        ``(n,)``, of the same children.
    counts
        How often each child was drawn, ``(resamples, n)``.

    Returns
    -------
    ndarray
        ``(resamples,)``; not-a-number where all ground truths or all scores drawn are equal.

    Examples
    --------
    >>> counts = np.array([[1, 1, 1], [2, 1, 0]])
    >>> resampled_taus(np.array([1, 2, 3]), np.array([2, 1, 3]), counts).round(3).tolist()
    [0.333, -1.0]
    """
    t, s = (np.sign(values[:, None] - values) for values in (truth, scores))
    same, t_differ, s_differ = (
        ((counts @ matrix) * counts).sum(axis=1) for matrix in (t * s, np.abs(t), np.abs(s))
    )
    with np.errstate(invalid="ignore"):
        return same / np.sqrt(t_differ * s_differ)


def percentiles(values: np.ndarray, confidence: float) -> tuple[float, float]:
    """Ends of the middle ``confidence`` of the values, of those that are numbers.

    Examples
    --------
    >>> percentiles(np.array([0, 1, 2, 3, 4, np.nan]), 0.5)
    (1.0, 3.0)
    """
    low, high = np.nanquantile(values, tails(confidence))
    return float(low), float(high)


def tails(confidence: float) -> tuple[float, float]:
    """Where an interval of this confidence cuts a distribution.

    Raises
    ------
    ValueError
        If the confidence is not between 0 and 1.

    Examples
    --------
    >>> tails(0.5)
    (0.25, 0.75)
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence!r}; it must be between 0 and 1")
    return (1 - confidence) / 2, (1 + confidence) / 2
