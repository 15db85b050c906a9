"""Delayed shrinking [Annavajjala2024]: the largest child alone, and later the sandwich.

[Annavajjala2024] Annavajjala et al., DεpS: Delayed ε-Shrinking for Faster Once-For-All Training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nni.mutable import LabeledMutable, Mutable

from ..children.costs import CostSum
from ..supernet.step import Turn
from ..support.errors import check_number
from .base import Probe
from .sandwich import SandwichSampler

__all__ = ["DelayedSampler"]


class DelayedSampler(SandwichSampler):
    """The largest child alone for a share of the training, then the sandwich rule.

    Parameters
    ----------
    space, seed, filter, cost, n_random
        See :class:`nni_magic.samplers.sandwich.SandwichSampler`.
    delay
        δ, the share of the training's optimizer steps.
    """

    def __init__(
        self,
        space: Mutable | Mapping[str, LabeledMutable],
        *,
        seed: int | Sequence[int],
        filter: Any = None,
        cost: CostSum,
        n_random: int = 2,
        delay: float = 0.5,
    ) -> None:
        check_number("delay", delay, at_least=0, below=1)
        self.delay = delay
        super().__init__(space, seed=seed, filter=filter, cost=cost, n_random=n_random)

    def turns(self, probe: Probe) -> list[Turn]:
        """Children of a step, by how far the training is."""
        if probe.progress < self.delay:
            self.current = self.extremes[0]
            return [Turn(dict(self.current))]
        return super().turns(probe)
