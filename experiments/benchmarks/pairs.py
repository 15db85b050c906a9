"""Measurements in pairs, and what they say.

A figure of speed means something only beside another one taken under the same conditions. So a
benchmark measures *pairs*: the two sides one after the other, in turns, each first in every other
pair. A pair gives one ratio, and the report shows the median of the ratios with their minimum and
maximum. Every raw value is kept in the JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import numpy as np

__all__ = ["Summary", "alternate", "ratios", "summarise", "text", "verdict"]

T = TypeVar("T")
Summary = dict[str, float]


def alternate(first: Callable[[], T], second: Callable[[], T], turn: int) -> tuple[T, T]:
    """Call both, in the order that ``turn`` says: even as given, odd the other way round.

    Returns
    -------
    tuple
        What ``first`` and ``second`` returned, in this order whoever went first.

    Examples
    --------
    >>> alternate(lambda: "a", lambda: "b", turn=1)
    ('a', 'b')
    """
    if turn % 2 == 0:
        a = first()
        return a, second()
    b = second()
    return first(), b


def ratios(numerators: Sequence[float], denominators: Sequence[float]) -> list[float]:
    """Divide pair by pair."""
    return [a / b for a, b in zip(numerators, denominators, strict=True)]


def summarise(values: Iterable[float]) -> Summary:
    """Count, minimum, median and maximum.

    Raises
    ------
    ValueError
        If there is no value.

    Examples
    --------
    >>> summarise([3.0, 1.0, 2.0])
    {'n': 3, 'min': 1.0, 'median': 2.0, 'max': 3.0}
    """
    array = np.asarray(list(values), dtype=float)
    if array.size == 0:
        raise ValueError("values is empty; a summary needs at least one")
    return {
        "n": array.size,
        "min": float(array.min()),
        "median": float(np.median(array)),
        "max": float(array.max()),
    }


def verdict(summary: Summary, *, at_most: float) -> str:
    """Say whether ratios meet a target, and whether all of them do.

    Examples
    --------
    >>> verdict({"n": 5, "min": 0.9, "median": 0.95, "max": 1.1}, at_most=1.0)
    'met by the median, not by every pair'
    """
    if summary["max"] <= at_most:
        return "met in every pair"
    if summary["median"] <= at_most:
        return "met by the median, not by every pair"
    if summary["min"] <= at_most:
        return "missed by the median, met in some pairs"
    return "missed in every pair"


def text(summary: Summary, digits: int = 3) -> str:
    """Print a summary as ``median (min to max)``, with significant digits.

    Examples
    --------
    >>> text({"n": 5, "min": 0.9, "median": 0.9512, "max": 1.1})
    '0.951 (0.9 to 1.1)'
    """
    low, middle, high = (
        f"{float(f'{summary[key]:.{digits}g}'):,.12g}" for key in ("min", "median", "max")
    )
    return f"{middle} ({low} to {high})"
