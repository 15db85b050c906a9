"""Figures as the cells of a table."""

from __future__ import annotations

from collections.abc import Sequence

from nni_magic.analysis.seeds import MeanInterval

__all__ = ["cell", "interval"]


def interval(ends: Sequence[float], sign: str = "") -> str:
    """Write both ends of an interval; differences have the sign "+".

    >>> interval((-0.5, 1.25), "+")
    '-0.500 to +1.250'
    """
    low, high = ends
    return f"{low:{sign}.3f} to {high:{sign}.3f}"


def cell(one: MeanInterval | None, sign: str = "") -> str:
    """Write a mean with its interval, if there is one; differences have the sign "+".

    >>> cell(MeanInterval(0.5, (0.25, 0.75), std=0.1, n=3))
    '0.500 (0.250 to 0.750)'
    """
    return "" if one is None else f"{one.mean:{sign}.3f} ({interval(one.interval, sign)})"
