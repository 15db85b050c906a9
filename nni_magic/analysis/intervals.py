"""A mean over seeds and Student's interval of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import scipy.stats
from numpy.typing import ArrayLike

from .resampling import as_numbers, check_finite, tails

__all__ = ["MeanInterval", "over_seeds"]


@dataclass(frozen=True)
class MeanInterval:
    """Mean over ``n`` seeds, Student's interval of the mean, and standard deviation over seeds."""

    mean: float
    interval: tuple[float, float]
    std: float
    n: int


def over_seeds(taus: ArrayLike, *, confidence: float = 0.95) -> MeanInterval:
    """Mean over seeds with Student's interval: where the mean would be with other seeds.

    It holds for these very children, not for others.

    Parameters
    ----------
    taus
        Kendall's tau, or another number, of every seed, ``(seeds,)``.
    confidence
        Confidence of the interval, between 0 and 1.

    Raises
    ------
    ValueError
        If there are fewer than two seeds, a value is not finite, or the confidence is not between
        0 and 1.

    Examples
    --------
    >>> found = over_seeds([0.38, 0.40, 0.42])
    >>> round(found.mean, 3), [round(end, 3) for end in found.interval], round(found.std, 3)
    (0.4, [0.35, 0.45], 0.02)
    """
    array = as_numbers("taus", taus)
    if array.ndim != 1 or len(array) < 2:
        raise ValueError(f"taus has shape {array.shape}; accepted is (seeds,), at least two seeds")
    check_finite("taus", array)
    mean, std = float(array.mean()), float(array.std(ddof=1))
    quantile = scipy.stats.t.ppf(tails(confidence)[1], len(array) - 1)
    reach = float(quantile) * std / math.sqrt(len(array))
    return MeanInterval(mean, (mean - reach, mean + reach), std, len(array))
