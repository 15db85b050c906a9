r"""The cheapest and the dearest child that constraints allow.

.. math:: \min_x / \max_x \; \sum_{i, o} c_{io} x_{io} \quad \text{s. t.} \quad
          \sum_o x_{io} = 1, \quad l \le \sum_{i, o} b_{io} x_{io} \le u

Without constraints the extreme of a sum is found label by label. Otherwise the options *o* of the
groups *i* of labels that hang together are chosen by an integer program, whose rows are the budgets
*b* among the constraints; a child that another constraint rejects is cut off, and the next found.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from nni.mutable import Sample
from scipy.optimize import Bounds, LinearConstraint, milp

from ..children.budgeted import Group, independent_groups
from ..children.constraints import Budget, Constraint, each_of
from ..children.costs import CostSum, Summand
from ..children.samples import Candidates
from .base import Sampler

__all__ = ["cost_range", "extreme_child"]

CUTS = 100
"""Children that constraints other than budgets may reject before the search gives up."""


def extreme_child(
    cost: CostSum,
    candidates: Candidates,
    allows: Callable[[Sample], bool],
    constraint: Constraint | None,
    *,
    largest: bool,
) -> Sample:
    """Find the cheapest or the dearest child, exactly.

    Parameters
    ----------
    cost
        What children cost.
    candidates
        The choices of every label.
    allows
        Tells whether a child is valid; ``Sampler.allows``.
    constraint
        The part of it whose budgets are known.
    largest
        Which of the two.

    Raises
    ------
    ValueError
        If it cannot be found: too many labels hang together, or ``CUTS`` children were rejected.
    """
    free = cost.extreme_sample(candidates, largest=largest)
    if free is not None and allows(free):
        return free
    word = "largest" if largest else "smallest"
    program = _Program(cost, candidates, constraint, largest=largest)
    if program.groups is None:
        raise ValueError(
            f"the {word} child by the cost is not found: its labels hang together; accepted are "
            "costs that are sums over few labels each, and, without a filter, over chains of labels"
        )
    for _ in range(CUTS):
        if (child := program.solve()) is None:
            break
        if allows(child):
            return child
        program.cut()
    raise ValueError(
        f"the {word} child is not found among the {CUTS} that are {word} by the cost: filter "
        f"{constraint!r} rejects them, or the space does; accepted are filters that are budgets, "
        "or that allow one of these"
    )


def cost_range(sampler: Sampler, cost: CostSum) -> tuple[float, float]:
    """Costs of the smallest and of the largest child that a sampler may give.

    Raises
    ------
    ValueError
        If the cost is of another space, or they are the same, or as for :func:`extreme_child`.
    """
    cost.check_covers(sampler.candidates)
    smallest, largest = (
        cost(
            extreme_child(
                cost, sampler.candidates, sampler.allows, sampler.filter, largest=largest
            )
        )
        for largest in (False, True)
    )
    if largest <= smallest:
        raise ValueError(
            f"cost of the largest child is {largest:,.6g}, as of the smallest; accepted are costs "
            "by which children differ: pass another cost"
        )
    return smallest, largest


class _Program:
    """The integer program; a variable for every option of every group of labels."""

    def __init__(
        self, cost: CostSum, candidates: Candidates, constraint: Constraint | None, *, largest: bool
    ) -> None:
        budgets = [
            each
            for each in each_of(constraint)
            if isinstance(each, Budget) and isinstance(each.profiler, CostSum)
        ]
        sums = [cost, *(budget.profiler for budget in budgets)]
        # Every label is in a group, so that what is cut off is one child.
        summands = [Summand({label: choices}, _nothing) for label, choices in candidates.items()]
        together = CostSum(0, [*summands, *(each for one in sums for each in one.summands)])
        self.groups: list[Group] | None = independent_groups(together, candidates)
        if self.groups is None:
            return
        sizes = [len(group.choices) for group in self.groups]
        self._ends = np.cumsum(sizes)
        costs = _option_costs(cost, self.groups)
        self._objective = (-costs if largest else costs) / max(1.0, np.abs(costs).max())
        self._rows: list[LinearConstraint] = [
            LinearConstraint(np.repeat(np.eye(len(sizes)), sizes, axis=1), 1, 1)
        ]
        for budget in budgets:
            weights = _option_costs(budget.profiler, self.groups)
            low, high = budget.min_value, budget.max_value
            constant, scale = budget.profiler.constant, max(1.0, np.abs(weights).max())
            self._rows.append(LinearConstraint(
                weights / scale,
                -np.inf if low is None else (low - constant) / scale,
                np.inf if high is None else (high - constant) / scale,
            ))  # fmt: skip

    def solve(self) -> Sample | None:
        """Give the best child that is not cut off, if there is one."""
        found = milp(
            self._objective, integrality=np.ones_like(self._objective), bounds=Bounds(0, 1),
            constraints=self._rows, options={"mip_rel_gap": 0.0},
        )  # fmt: skip
        if found.x is None:
            return None
        self._taken = np.round(found.x)
        assert self.groups is not None
        child: Sample = {}
        for group, options in zip(self.groups, np.split(self._taken, self._ends[:-1]), strict=True):
            child |= zip(group.labels, group.choices[int(options.argmax())], strict=True)
        return child

    def cut(self) -> None:
        """Leave out the child that was found last."""
        self._rows.append(LinearConstraint(self._taken, -np.inf, self._taken.sum() - 1))


def _option_costs(cost: CostSum, groups: Sequence[Group]) -> np.ndarray:
    """What every option of every group costs."""
    costs = []
    for group in groups:
        own = [s for s in cost.summands if s.candidates.keys() <= set(group.labels)]
        for choice in group.choices:
            sample = dict(zip(group.labels, choice, strict=True))
            costs.append(sum(summand(sample) for summand in own))
    return np.array(costs, dtype=float)


def _nothing(sample: Any) -> float:
    return 0.0
