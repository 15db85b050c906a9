"""Kendall's tau of many resamples of children at once, and checks of the numbers resampled."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ..support.errors import check_count, check_number

__all__ = [
    "as_numbers", "check_finite", "checked", "draws", "percentiles", "resampled_taus", "tails",
]  # fmt: skip

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
        Length of every axis, None where any is accepted.
    children
        The axis of the children.

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
    array = as_numbers(name, values)
    fits = array.ndim == len(shape) and all(
        wanted in (None, length) for wanted, length in zip(shape, array.shape, strict=True)
    )
    if not fits:
        raise ValueError(
            f"{name} has shape {array.shape}; accepted is {shape}, None being any length"
        )
    if (n := array.shape[children]) < FEWEST_CHILDREN:
        raise ValueError(f"{name} has {n} children; accepted are at least {FEWEST_CHILDREN}")
    check_finite(name, array)
    if (np.ptp(array, axis=children) == 0).any():
        raise ValueError(f"{name} is the same for all children, so tau is undefined")
    return array


def as_numbers(name: str, values: ArrayLike) -> np.ndarray:
    """Make an array of numbers, or raise a ``ValueError`` that names what are none."""
    try:
        return np.asarray(values, dtype=float)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{name} is {values!r}; accepted are arrays of numbers") from None


def check_finite(name: str, array: np.ndarray) -> None:
    """Raise a ``ValueError`` that names the first number of an array which is not finite.

    Examples
    --------
    >>> check_finite("taus", np.array([0.5, np.nan]))
    Traceback (most recent call last):
    ValueError: taus[1] is nan; accepted are finite numbers
    """
    if not (finite := np.isfinite(array)).all():
        first = np.argwhere(~finite)[0].tolist()
        raise ValueError(f"{name}{first} is {array[tuple(first)]}; accepted are finite numbers")


def draws(n: int, n_resamples: int, rng: np.random.Generator) -> np.ndarray:
    """Draw resamples of n children, with replacement.

    Returns
    -------
    ndarray
        How often each child is in each resample, ``(resamples, n)``.

    Raises
    ------
    ValueError
        If there are too few resamples for an interval.
    """
    check_count("n_resamples", n_resamples, at_least=FEWEST_DRAWS)
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
    """Interval that holds the middle share ``confidence`` of the values; NaN are left out.

    Examples
    --------
    >>> percentiles(np.array([0, 1, 2, 3, 4, np.nan]), 0.5)
    (1.0, 3.0)
    """
    low, high = np.nanquantile(values, tails(confidence))
    return float(low), float(high)


def tails(confidence: float) -> tuple[float, float]:
    """Shares of a distribution that lie below the two ends of an interval of this confidence.

    Raises
    ------
    ValueError
        If the confidence is not between 0 and 1.

    Examples
    --------
    >>> tails(0.5)
    (0.25, 0.75)
    """
    check_number("confidence", confidence, above=0, below=1)
    return (1 - confidence) / 2, (1 + confidence) / 2
