"""Multi-architectural sampling [Liao2021]: every child of a step has a part of the batch.

[Liao2021] Liao et al., Searching for Efficient Multi-Stage Vision Transformers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nni.mutable import LabeledMutable, Mutable

from ..supernet.step import Turn
from ..support.errors import check_count
from .base import Probe
from .composed import ComposedSampler, MakeSampler
from .uniform import UniformSampler

__all__ = ["PartsSampler"]


class PartsSampler(ComposedSampler):
    """Cuts the batch into parts, and gives each to the next child of another sampler [Liao2021].

    Parameters
    ----------
    space, seed, filter, order
        See :class:`nni_magic.samplers.composed.ComposedSampler`.
    children
        How many parts.
    """

    def __init__(
        self,
        space: Mutable | Mapping[str, LabeledMutable],
        *,
        seed: int | Sequence[int],
        filter: Any = None,
        order: MakeSampler = UniformSampler,
        children: int,
    ) -> None:
        check_count("children", children)
        self.n_children = children
        super().__init__(space, seed=seed, filter=filter, order=order)

    def turns(self, probe: Probe) -> list[Turn]:
        """Children of a step, each with its part of the batch."""
        return [Turn(self.next(), part=(n, self.n_children)) for n in range(self.n_children)]
