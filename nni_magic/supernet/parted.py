"""A supernet in several parts: copies, of which each is for some candidates of one block."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import nni_bootstrap  # noqa: F401
import torch
from nni.mutable import LabeledMutable, Mutable, Sample
from nni.nas.nn.pytorch import ModelSpace
from nni.nas.oneshot.pytorch.supermodule.base import BaseSuperNetModule
from torch import Tensor, nn

from ..children.samples import candidates
from ..support.compat import freeze

__all__ = ["PartedSupernet", "with_parts_of"]

SWITCH = "switch.owners"


class _Switch(BaseSuperNetModule):
    """Knows which part holds a child; set by the router, with the rest of the path."""

    owners: Tensor

    def __init__(self, space: ModelSpace) -> None:
        super().__init__()
        self._candidates = candidates(space)
        self._labels = space.simplify()
        most = max(map(len, self._candidates.values()))
        self.register_buffer("owners", torch.zeros(len(self._candidates), most, dtype=torch.long))
        self.part = 0

    def leaf_mutables(self, is_leaf: Callable[[Mutable], bool]) -> Iterable[LabeledMutable]:
        yield from self._labels.values()

    def check_contains(self, sample: Sample) -> None:
        """Leave it to the parts."""

    def part_of(self, sample: Sample) -> int:
        places = (
            choices.index(sample[label]) if label in sample else 0
            for label, choices in self._candidates.items()
        )
        owners = self.owners.tolist()  # once for all labels, as it may be on a GPU
        return max(own[place] for own, place in zip(owners, places, strict=True))

    def split(self, label: str, groups: Sequence[Sequence[Any]]) -> None:
        row = list(self._candidates).index(label)
        for part, group in enumerate(groups):
            for choice in group:
                self.owners[row, self._candidates[label].index(choice)] = part

    def resample(self, memo: dict[str, Any]) -> dict[str, Any]:
        self.part = self.part_of(memo)
        return {}


class PartedSupernet(ModelSpace, disable_init_wrapper=True):  # type: ignore[call-arg]
    """Copies of a supernet, each with weights of its own.

    Until :meth:`split` the first is that of all children, and the others wait.

    Parameters
    ----------
    supernet
        The first part.
    n_parts
        How many parts.
    """

    def __init__(self, supernet: ModelSpace, n_parts: int) -> None:
        super().__init__()
        self.switch = _Switch(supernet)
        copies = (copy.deepcopy(supernet) for _ in range(n_parts - 1))
        self.parts = nn.ModuleList([supernet, *copies])

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.parts[self.switch.part](*args, **kwargs)

    def part_of(self, sample: Sample) -> int:
        """Number of the part that holds a child."""
        return self.switch.part_of(sample)

    def split(self, label: str, groups: Sequence[Sequence[Any]]) -> None:
        """Give every group of a label's choices a part, with the weights of the first.

        The path has to be set anew then.
        """
        self.switch.split(label, groups)
        weights = self.parts[0].state_dict()
        for part in self.parts[1:]:
            part.load_state_dict(weights)

    def freeze(self, sample: Mapping[str, Any]) -> nn.Module:
        frozen: nn.Module = freeze(self.parts[self.part_of(dict(sample))], sample)
        return frozen


def with_parts_of(supernet: ModelSpace, weights: Mapping[str, Any]) -> ModelSpace:
    """Give a supernet as many parts as the one has that the weights are of."""
    if SWITCH not in weights or isinstance(supernet, PartedSupernet):
        return supernet
    numbers = {int(name.split(".")[1]) for name in weights if name.startswith("parts.")}
    return PartedSupernet(supernet, len(numbers))
