"""Constraints on children: one callable out of the forms that users may give them in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nni.mutable import Sample
from nni.nas.oneshot.pytorch.profiler import RangeProfilerFilter

__all__ = ["Constraint", "as_constraint"]

Constraint = Callable[[Sample], bool]


def as_constraint(filter: Any) -> Constraint | None:
    """Make one constraint out of what an argument ``filter`` accepts.

    Parameters
    ----------
    filter
        A callable that is true for the samples allowed; or the arguments of NNI's
        ``RangeProfilerFilter`` in a dict; or a sequence of these, all of which must hold; or
        ``None``.

    Raises
    ------
    TypeError
        If it is none of these.

    Examples
    --------
    >>> allows = as_constraint([lambda sample: sample["a"] > 0, lambda sample: sample["b"] > 0])
    >>> allows({"a": 1, "b": 1}), allows({"a": 1, "b": 0})
    (True, False)
    """
    if filter is None or callable(filter):
        return filter
    if isinstance(filter, Mapping):
        return RangeProfilerFilter(**filter)
    if isinstance(filter, Sequence) and not isinstance(filter, str) and None not in filter:
        return _All([as_constraint(each) for each in filter])
    raise TypeError(
        f"filter is {filter!r}; accepted are a callable sample -> bool, a dict of arguments for "
        "NNI's RangeProfilerFilter, or a sequence of these"
    )


class _All:
    """Several constraints that must all hold; they are asked in order, up to the first no."""

    def __init__(self, constraints: Sequence[Any]) -> None:
        self.constraints = constraints

    def __call__(self, sample: Sample) -> bool:
        return all(constraint(sample) for constraint in self.constraints)

    def __repr__(self) -> str:
        return f"all of {self.constraints!r}"
