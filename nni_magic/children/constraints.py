"""Constraints on children: one callable out of the forms that users may give them in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import nni_bootstrap  # noqa: F401
from nni.mutable import Sample
from nni.nas.oneshot.pytorch.profiler import RangeProfilerFilter
from nni.nas.profiler import Profiler

from ..support.errors import check_number, naming
from .costs import CostSum, tabulated
from .samples import Candidates

__all__ = ["Budget", "Constraint", "as_constraint", "check_budgets", "each_of"]

Constraint = Callable[[Sample], bool]


def as_constraint(filter: Any) -> Constraint | None:
    """Make one constraint out of what an argument ``filter`` accepts.

    Parameters
    ----------
    filter
        A callable that is true for the samples allowed; or NNI's ``RangeProfilerFilter``, or its
        arguments in a dict, which become a :class:`Budget`; or a sequence of these, all of which
        must hold; or ``None``.

    Raises
    ------
    TypeError
        If it is none of these.
    ValueError
        If no child is inside a budget, or its upper bound is above all children.

    Examples
    --------
    >>> allows = as_constraint([lambda sample: sample["a"] > 0, lambda sample: sample["b"] > 0])
    >>> allows({"a": 1, "b": 1}), allows({"a": 1, "b": 0})
    (True, False)
    """
    if type(filter) is RangeProfilerFilter:
        return Budget(filter.profiler, filter.min_value, filter.max_value)
    if filter is None or (callable(filter) and not isinstance(filter, Profiler)):
        return filter
    if isinstance(filter, Mapping) and {"profiler"} <= filter.keys() <= {"profiler", "min", "max"}:
        return Budget(**filter)
    if isinstance(filter, (list, tuple)) and None not in filter:
        return _All([as_constraint(each) for each in filter])
    raise TypeError(
        f"filter is {filter!r}; accepted are a callable sample -> bool, a dict of arguments for "
        'NNI\'s RangeProfilerFilter such as {"profiler": ..., "max": ...}, or a sequence of these'
    )


def each_of(constraint: Constraint | None) -> list[Constraint]:
    """Take apart what :func:`as_constraint` made of several constraints."""
    if isinstance(constraint, _All):
        return [one for each in constraint.constraints for one in each_of(each)]
    return [] if constraint is None else [constraint]


def check_budgets(constraint: Constraint | None, candidates: Candidates) -> None:
    """Make sure that the budgets among constraints can tell the cost of a space's children.

    Parameters
    ----------
    constraint
        What :func:`as_constraint` made.
    candidates
        The space's labels and their choices.

    Raises
    ------
    ValueError
        If a budget is of another space: its profiler depends on labels that the space does not
        have, or is a table that lacks labels or choices of the space.
    """
    for each in each_of(constraint):
        if isinstance(each, Budget) and isinstance(each.profiler, CostSum):
            with naming(f"the budget's {each._name} is of another space"):
                each.profiler.check_covers(candidates)


class Budget(RangeProfilerFilter):
    """NNI's filter of a cost, fast, and refused at once where it makes no sense.

    Parameters
    ----------
    profiler
        What a child costs: a profiler of NNI, or a :class:`~nni_magic.children.costs.CostSum`.
    min, max
        Bounds, in the profiler's unit; at least one of them.

    Raises
    ------
    TypeError
        If the profiler is not one of NNI's.
    ValueError
        If there is no bound, or one is no number; or, where the cost is a sum whose extremes can
        be found, no child is inside the bounds, or ``max`` is above the dearest child and so bounds
        nothing.
    """

    def __init__(
        self, profiler: Profiler, min: float | None = None, max: float | None = None
    ) -> None:
        if not isinstance(profiler, Profiler):
            raise TypeError(
                f"the budget's profiler is {profiler!r}; accepted are profilers of NNI, such as "
                "FlopsProfiler(space, inputs), and a LatencyTable"
            )
        if min is None and max is None:
            raise ValueError("the budget's min and max are None; accepted are numbers for either")
        for name, bound in (("min", min), ("max", max)):
            if bound is not None:
                check_number(f"the budget's {name}", bound)
        super().__init__(tabulated(profiler), min, max)
        self._name = type(profiler).__name__
        self._extremes = self.profiler.extremes() if isinstance(self.profiler, CostSum) else None
        self._check()

    def _check(self) -> None:
        low, high = self.min_value, self.max_value
        if low is not None and high is not None and low > high:
            raise ValueError(
                f"no child is inside the budget: min is {_text(low)}, max {_text(high)}"
            )
        if self._extremes is None:
            return
        smallest, largest = self._extremes
        for name, bound, outside in (
            ("max", high, high is not None and high < smallest),
            ("min", low, low is not None and low > largest),
        ):
            if outside:
                raise ValueError(
                    f"no child is inside the budget: {name} is {_text(bound)}, but {self._range()}"
                )
        if high is not None and high > largest:
            raise ValueError(
                f"the budget bounds nothing: max is {_text(high)}, but {self._range()}; lower it "
                "or leave it out"
            )

    def _range(self) -> str:
        smallest, largest = map(_text, self._extremes or ())
        return f"the smallest child has {smallest} and the largest {largest} by {self._name}"

    def __repr__(self) -> str:
        bounds = {"min": self.min_value, "max": self.max_value}
        given = [f"{name}={_text(bound)}" for name, bound in bounds.items() if bound is not None]
        text = f"RangeProfilerFilter({', '.join([self._name, *given])})"
        return text if self._extremes is None else f"{text} ({self._range()})"


def _text(number: float) -> str:
    """Print whole numbers in full, and others to six digits.

    Examples
    --------
    >>> _text(6e8), _text(600_000_001), _text(12.3456789)
    ('600,000,000', '600,000,001', '12.3457')
    """
    return f"{number:,.0f}" if float(number).is_integer() else f"{number:,.6g}"


class _All:
    """Several constraints that must all hold; they are asked in order, up to the first no."""

    def __init__(self, constraints: Sequence[Any]) -> None:
        self.constraints = constraints

    def __call__(self, sample: Sample) -> bool:
        return all(constraint(sample) for constraint in self.constraints)

    def __repr__(self) -> str:
        return f"all of {self.constraints!r}"
