r"""FairNAS [Chu2021]: every step trains every candidate of every block exactly once.

[Chu2021] Chu et al., FairNAS: Rethinking Evaluation Fairness of Weight Sharing Neural Architecture
Search, ICCV 2021.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nni.mutable import LabeledMutable, Mutable, Sample

from ..children.samples import Candidates
from ..supernet.step import Turn
from .base import Probe
from .uniform import UniformSampler

__all__ = ["FairSampler"]


class FairSampler(UniformSampler):
    r"""Strict fairness: as many children a step as a block has candidates [Chu2021].

    For every block its candidates are put into random order, and child i of the step takes the i-th
    of each. Over one step every candidate is trained exactly once; a child by itself is uniform.
    Blocks with one candidate are no choice, and take part in every child.

    Parameters
    ----------
    space, seed
        See :class:`nni_magic.samplers.base.Sampler`.
    filter
        Must be ``None``.

    Raises
    ------
    ValueError
        If strict fairness cannot hold: there is a filter, or the space has a constraint of its own;
        choices sit inside of others; blocks have different numbers of candidates, or one only.
    """

    def __init__(
        self,
        space: Mutable | Mapping[str, LabeledMutable],
        *,
        seed: int | Sequence[int],
        filter: Any = None,
    ) -> None:
        super().__init__(space, seed=seed, filter=filter)
        if self.filter is not None:
            raise ValueError(
                f"filter is {self.filter!r}; accepted is None, as FairNAS trains every candidate "
                "in every step"
            )
        if self._annotations:
            raise ValueError(
                "the space has a constraint of its own; accepted are spaces without one, as "
                "FairNAS trains every candidate in every step"
            )
        if self._conditional:
            raise ValueError(
                "the space has choices inside of others; accepted are spaces in which every choice "
                "is used by every child, as FairNAS trains every candidate in every step"
            )
        _common_size(self.candidates)

    def turns(self, probe: Probe) -> list[Turn]:
        """Children of a step: together they hold every candidate of every block once.

        Raises
        ------
        ValueError
            If candidates were deleted, and blocks now differ.
        """
        orders = {
            label: self._rng.permutation(len(choices)).tolist()
            for label, choices in self.candidates.items()
        }
        children: list[Sample] = [
            {
                label: self.candidates[label][order[n % len(order)]]
                for label, order in orders.items()
            }
            for n in range(_common_size(self.candidates))
        ]
        self.current = dict(children[-1])
        return [Turn(child) for child in children]


def _common_size(candidates: Candidates) -> int:
    """How many candidates every block has.

    Raises
    ------
    ValueError
        If blocks differ, or have no choice.
    """
    sizes = {label: len(choices) for label, choices in candidates.items() if len(choices) > 1}
    if not sizes:
        raise ValueError("every block has one candidate only; accepted are at least two to train")
    if len(set(sizes.values())) > 1:
        raise ValueError(
            f"the numbers of candidates are {sizes}; accepted are blocks of one size, as FairNAS "
            "trains every candidate once in every step"
        )
    return next(iter(sizes.values()))
