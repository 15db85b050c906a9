"""AttentiveNAS [Wang2021]: of several children of about one cost the best or the worst is trained.

[Wang2021] Wang et al., AttentiveNAS: Improving Neural Architecture Search via Attentive Sampling.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from nni.mutable import LabeledMutable, Mutable, Sample

from ..children.costs import CostSum
from ..support.errors import check_choice, check_count
from .base import Probe
from .cost_groups import CostGroups
from .extremes import cost_range
from .sandwich import SandwichSampler

__all__ = ["AttentiveSampler"]

TARGETS = 16
"""Intervals of equal width between the costs of the smallest and the largest child."""


class AttentiveSampler(SandwichSampler):
    """The sandwich rule whose random children are picked by their loss on the batch [Wang2021].

    For every random child a uniform one is drawn, whose cost is the target: costs follow those of
    uniform children, the prior. Then others are drawn until as many as wanted are in the target's
    interval; the one with the least or the most loss is trained. Where an interval is so rare that
    ``tries`` draws find no other, those found have to do.

    Parameters
    ----------
    space, seed, filter, cost, n_random
        See :class:`nni_magic.samplers.sandwich.SandwichSampler`.
    draws
        Children of which one is picked.
    pick
        ``best_up`` for the least loss, ``worst_up`` for the most.
    """

    def __init__(
        self,
        space: Mutable | Mapping[str, LabeledMutable],
        *,
        seed: int | Sequence[int],
        filter: Any = None,
        cost: CostSum,
        n_random: int = 2,
        draws: int = 3,
        pick: str = "best_up",
    ) -> None:
        check_count("draws", draws)
        check_choice("pick", pick, ("best_up", "worst_up"))
        self.draws = draws
        self.pick = pick
        super().__init__(space, seed=seed, filter=filter, cost=cost, n_random=n_random)
        self._targets = CostGroups(cost, cost_range(self, cost), TARGETS)

    def random(self, probe: Probe) -> list[Sample]:
        """The picked children of a step."""
        return [self._picked(self.alike(), probe) for _ in range(self.n_random)]

    def alike(self) -> list[Sample]:
        """Children of about the cost of the first, which is uniform."""
        found = [self.next()]
        target = self.target(found[0])
        for _ in range(self.tries):
            if len(found) == self.draws:
                break
            if self.target(child := self.next()) == target:
                found.append(child)
        return found

    def target(self, child: Sample) -> int:
        """The number of the interval that a child's cost is in, from 0."""
        return self._targets.of(child)

    def _picked(self, children: list[Sample], probe: Probe) -> Sample:
        if len(children) == 1:
            return children[0]
        losses = np.array([probe(child) for child in children])
        if np.isnan(losses).all():  # the evaluator skips the batch
            return children[0]
        return children[int(np.nanargmin(losses if self.pick == "best_up" else -losses))]
