"""Children by what they cost: groups of equal width, and uniform draws inside a group."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
from nni.mutable import Sample

from ..children.budgeted import BudgetedDraws, independent_groups
from ..children.costs import CostSum
from ..children.samples import Candidates, random_sample

__all__ = ["CostGroups"]


class CostGroups:
    """Intervals of equal width between the costs of two children.

    Parameters
    ----------
    cost
        What children cost.
    ends
        The least and the most cost.
    n_groups
        How many.
    """

    def __init__(self, cost: CostSum, ends: tuple[float, float], n_groups: int) -> None:
        self._cost = cost
        self._low, self._width = ends[0], (ends[1] - ends[0]) / n_groups
        self.n_groups = n_groups
        self._draws: tuple[Candidates, list[BudgetedDraws | None]] | None = None

    def of(self, child: Sample) -> int:
        """The number of a child's group, from 0, the cheapest."""
        if not self._width:
            return 0
        group = int((self._cost(child) - self._low) / self._width)
        return min(max(group, 0), self.n_groups - 1)

    def draw(
        self,
        group: int,
        candidates: Candidates,
        rng: np.random.Generator,
        allows: Callable[[Sample], bool],
        tries: int,
    ) -> Sample | None:
        """Draw a uniform valid child of a group; ``None`` if none is found.

        Where the cost is a sum over small independent groups of labels it is drawn inside the
        interval (:mod:`nni_magic.children.budgeted`), elsewhere anywhere, and rejected outside.
        """
        inside = self._inside(candidates)[group]
        if inside is not None and not inside.ways():
            return None
        for _ in range(tries):
            child = random_sample(candidates, rng) if inside is None else inside(rng)
            if self.of(child) == group and allows(child):
                return child
        return None

    def _inside(self, candidates: Candidates) -> list[BudgetedDraws | None]:
        """Prepare the draws of all groups, anew after deletions."""
        if self._draws is None or self._draws[0] is not candidates:
            labels = independent_groups(self._cost, candidates)
            edges = [
                self._low + n * self._width - self._cost.constant for n in range(self.n_groups + 1)
            ]
            edges[0], edges[-1] = -math.inf, math.inf
            self._draws = candidates, [
                None if labels is None else BudgetedDraws(labels, candidates, (low, high))
                for low, high in itertools.pairwise(edges)
            ]
        return self._draws[1]
