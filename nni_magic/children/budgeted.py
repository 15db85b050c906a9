r"""Uniform samples inside a budget, exactly and without luck.

Drawing anywhere and rejecting what is outside fails for tight budgets: of the ImageNet preset of
the ProxylessNAS space one child in 200 has less than 300M multiply-adds, and fewer than one in
1,000 has less than 260M. Where the cost is a sum over groups of labels that do not depend on each
other, as FLOPs, parameters and latency of a chain are, the samples inside can be counted and drawn
from the count, as one draws from a knapsack [Dyer2003]:

.. math:: N_i(b) = \sum_k N_{i+1}(b - c_{ik}), \qquad
          P(\alpha_i = k \mid b \text{ left}) = N_{i+1}(b - c_{ik}) / N_i(b)

Costs are rounded down to bins for the count, so that no sample inside is lost, and those that are
outside all the same are rejected; what remains is uniform. These are few as long as the groups are:
with hundreds of groups, what each loses by rounding adds up to more than costs vary by, and a tight
budget rejects nearly all draws.

[Dyer2003] Dyer, Approximate counting by dynamic programming, STOC 2003.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from nni.mutable import Sample

from . import samples
from .constraints import Budget, Constraint, each_of
from .costs import JOINT_SIZE, CostSum, Summand
from .samples import Candidates

__all__ = ["BudgetedDraws", "Group", "draws_inside", "independent_groups"]

BINS = 2**12
"""Number of bins between the costs of the cheapest and of the dearest child."""


def draws_inside(constraint: Constraint | None, candidates: Candidates) -> BudgetedDraws | None:
    """Prepare to draw inside a constraint's budget, the first one if there are several.

    Returns
    -------
    BudgetedDraws or None
        ``None`` where no cost is a sum over small independent groups of labels, or where no
        sample is inside.
    """
    for each in each_of(constraint):
        if isinstance(each, Budget) and isinstance(each.profiler, CostSum):
            groups = independent_groups(each.profiler, candidates)
            if groups is not None:
                low, high = each.min_value, each.max_value
                bounds = (
                    -math.inf if low is None else low - each.profiler.constant,
                    math.inf if high is None else high - each.profiler.constant,
                )
                draws = BudgetedDraws(groups, candidates, bounds)
                return draws if draws.ways() else None
    return None


class Group(NamedTuple):
    """Labels whose choices make a part of the cost that depends on no other label.

    Attributes
    ----------
    labels : sequence of str
        The labels.
    choices : list of tuple
        All combinations of their choices.
    costs : numpy.ndarray
        What each combination costs, ``(n,)``.
    """

    labels: Sequence[str]
    choices: list[tuple[Any, ...]]
    costs: np.ndarray


class BudgetedDraws:
    """Draws samples whose cost is inside of bounds, all with the same probability.

    Parameters
    ----------
    groups
        The parts of the cost.
    candidates
        Candidates of all labels; labels in no group cost nothing.
    bounds
        The least and the largest sum of the groups' costs that is inside.
    """

    def __init__(
        self, groups: Sequence[Group], candidates: Candidates, bounds: tuple[float, float]
    ) -> None:
        if bounds[0] > -math.inf and bounds[1] == math.inf:
            # Counted from the dear end, where rounding down loses nothing either.
            groups = [group._replace(costs=-group.costs) for group in groups]
            bounds = -bounds[1], -bounds[0]
        self._groups = groups
        self._labels = list(candidates)
        grouped = {label for group in groups for label in group.labels}
        self._free = {k: v for k, v in candidates.items() if k not in grouped}
        least = sum(group.costs.min() for group in groups)
        largest = sum(group.costs.max() for group in groups)
        width = (largest - least) / BINS or 1.0
        low, high = (np.clip(bound, least - width, largest) for bound in bounds)
        # Each group loses less than a bin by rounding down; one more is for rounding errors.
        self._low = math.floor((low - least) / width) - len(groups) - 1
        self._high = math.floor((high - least) / width) + 1
        self._options: list[list[tuple[int, tuple[Any, ...]]]] = []
        for group in groups:
            bins = np.floor((group.costs - group.costs.min()) / width).astype(int)
            self._options.append(list(zip(bins.tolist(), group.choices, strict=True)))
        self._ways = self._count()

    def _count(self) -> list[list[int]]:
        """Count the ways to choose for a group and all behind it, by the most bins that they take.

        In whole numbers of any size: a lower bound takes the difference of two numbers that may be
        as many as all children.
        """
        exactly = np.zeros(max(self._high, 0) + 1, dtype=object)
        exactly[0] = 1
        ways = [exactly]
        for options in reversed(self._options):
            after, exactly = exactly, np.zeros_like(exactly)
            for bins, _ in options:
                exactly[bins:] += after[: max(0, len(after) - bins)]
            ways.append(exactly)
        return [np.cumsum(each).tolist() for each in reversed(ways)]

    def ways(self, group: int = 0, spent: int = 0) -> int:
        """Count the ways to go on from a group when so many bins are spent."""
        most = self._high - spent
        if most < 0:
            return 0
        found, span = self._ways[group], self._high - self._low + 1
        return found[most] - found[most - span] if most >= span else found[most]

    def __call__(self, rng: np.random.Generator) -> Sample:
        """Draw a sample; the caller has to reject those that are, at times, just outside."""
        sample = samples.random_sample(self._free, rng) if self._free else {}
        spent, ways = 0, self.ways()
        for i, share in enumerate(rng.random(len(self._groups)).tolist()):
            skipped = int(share * 2**53) * ways >> 53
            for option in self._options[i]:
                ways = self.ways(i + 1, spent + option[0])
                skipped -= ways
                if skipped < 0:
                    break
            bins, choice = option
            spent += bins
            sample.update(zip(self._groups[i].labels, choice, strict=True))
        return {label: sample[label] for label in self._labels}


def independent_groups(cost: CostSum, candidates: Candidates) -> list[Group] | None:
    """Take a cost apart into groups of labels that do not depend on each other.

    Returns
    -------
    list of Group or None
        ``None`` where too many labels hang together.
    """
    groups: list[tuple[set[str], list[Summand]]] = []
    for summand in cost.summands:
        labels, summands = set(summand.candidates), [summand]
        for group in [group for group in groups if group[0] & labels]:
            groups.remove(group)
            labels |= group[0]
            summands += group[1]
        groups.append((labels, summands))
    if any(math.prod(len(candidates[label]) for label in g) > JOINT_SIZE for g, _ in groups):
        return None
    return [_group(sorted(labels), summands, candidates) for labels, summands in groups]


def _group(labels: list[str], summands: Sequence[Summand], candidates: Candidates) -> Group:
    choices = list(itertools.product(*(candidates[label] for label in labels)))
    costs = [
        sum(summand(dict(zip(labels, choice, strict=True))) for summand in summands)
        for choice in choices
    ]
    return Group(labels, choices, np.array(costs, dtype=float))
