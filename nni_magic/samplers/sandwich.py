"""The sandwich rule [Yu2020]: the largest, the smallest and some other children in every step.

[Yu2020] Yu et al., BigNAS: Scaling Up Neural Architecture Search with Big Single-Stage Models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nni.mutable import LabeledMutable, Mutable, Sample

from ..children.costs import CostSum
from ..children.samples import Candidates
from ..supernet.step import Turn
from ..support.errors import check_count
from .base import Probe
from .composed import ComposedSampler, MakeSampler
from .extremes import cost_range, extreme_child
from .uniform import UniformSampler

__all__ = ["SandwichSampler"]


class SandwichSampler(ComposedSampler):
    """The largest child, the smallest and random ones, in this order [Yu2020].

    The loss of the largest counts, those of the others do not: they learn from a term of the loss,
    such as :class:`nni_magic.losses.distillation.Distillation`.

    Parameters
    ----------
    space, seed, filter, order
        See :class:`nni_magic.samplers.composed.ComposedSampler`; ``order`` gives the random
        children.
    cost
        By which children are large or small.
    n_random
        How many random children.

    Raises
    ------
    ValueError
        If all children cost the same, or the extremes are not found, see
        :mod:`nni_magic.samplers.extremes`.
    """

    def __init__(
        self,
        space: Mutable | Mapping[str, LabeledMutable],
        *,
        seed: int | Sequence[int],
        filter: Any = None,
        order: MakeSampler = UniformSampler,
        cost: CostSum,
        n_random: int = 2,
    ) -> None:
        check_count("n_random", n_random, at_least=0)
        self.cost = cost
        self.n_random = n_random
        self._found: tuple[Candidates, list[Sample]] | None = None
        super().__init__(space, seed=seed, filter=filter, order=order)
        cost_range(self, cost)

    @property
    def extremes(self) -> list[Sample]:
        """The largest and the smallest valid child, found anew after deletions."""
        if self._found is None or self._found[0] is not self.candidates:
            children = [
                extreme_child(
                    self.cost, self.candidates, self.allows, self.filter, largest=largest
                )
                for largest in (True, False)
            ]
            self._found = self.candidates, children
        return [dict(child) for child in self._found[1]]

    def turns(self, probe: Probe) -> list[Turn]:
        """The largest child, which learns from the labels, and those that learn from it."""
        largest, smallest = self.extremes
        others = [smallest, *self.random(probe)]
        self.current = dict(others[-1])
        return [Turn(largest), *(Turn(child, 0.0) for child in others)]

    def random(self, probe: Probe) -> list[Sample]:
        """The random children of a step."""
        return [self.next() for _ in range(self.n_random)]
