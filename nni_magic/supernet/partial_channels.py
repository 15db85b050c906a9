r"""Operators on a part of the channels only, as in PC-DARTS [Xu2020].

.. math::
    f(x) = \mathrm{shuffle}_K\left(o(x_{1 \dots C/K}) \,\Vert\, x_{C/K+1 \dots C}\right)

Of C channels the first C/K pass a block's operators, which are made for so many, and the others go
by; then channels are shuffled in K groups. Where an operator halves all sizes, what goes by is
pooled.

[Xu2020] Xu et al., PC-DARTS: Partial Channel Connections for Memory-Efficient Architecture Search,
ICLR 2020.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import nni_bootstrap  # noqa: F401
from nni.nas.nn.pytorch import (
    Cell,
    LayerChoice,
    ModelSpace,
    MutableBatchNorm2d,
    MutableConv2d,
    MutableModule,
)
from torch import Tensor, cat, nn
from torch.nn import functional as F

__all__ = ["PartialChannels", "is_partial", "partial_channels"]

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, MutableConv2d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, MutableBatchNorm2d)
"""Layers with weights that can be made narrower."""
POOLS = {3: F.max_pool1d, 4: F.max_pool2d, 5: F.max_pool3d}
"""What halves all sizes of a tensor of so many dimensions."""


class PartialChannels(nn.Module):
    """Pass 1/K of the channels through an operator, and the others by.

    ``(batch, C, …)`` to the same, or with half of each size, rounded down, where the operator does
    so.

    Parameters
    ----------
    operator
        From C/K channels to as many.
    k
        K.
    where
        What errors call it.
    """

    def __init__(self, operator: nn.Module, k: int, where: str) -> None:
        super().__init__()
        self.operator = operator
        self.k = k
        self.where = where

    def forward(self, x: Tensor) -> Tensor:
        return self.join(self.operator(self.part(x)), x)

    def part(self, x: Tensor) -> Tensor:
        """The channels that pass operators."""
        _check_divides(x.shape[1], self.k, f"the input of {self.where!r}")
        return x[:, : x.shape[1] // self.k]

    def join(self, passed: Tensor, x: Tensor) -> Tensor:
        """Put what has passed operators together with what went by."""
        if passed.shape[1] * self.k != x.shape[1]:
            raise ValueError(
                f"{self.where!r} gives {passed.shape[1] * self.k} channels of {x.shape[1]}; "
                "accepted with partial channels are operators that keep their number"
            )
        by = x[:, x.shape[1] // self.k :]
        if passed.shape[2:] != by.shape[2:] and by.dim() in POOLS:
            by = POOLS[by.dim()](by, 2)
        if passed.shape[2:] != by.shape[2:]:
            raise ValueError(
                f"{self.where!r} gives sizes {tuple(passed.shape[2:])} of {tuple(x.shape[2:])}; "
                "accepted with partial channels are operators that keep all sizes, or halve all, "
                "rounded down"
            )
        return F.channel_shuffle(cat([passed, by], 1), self.k)


def is_partial(space: nn.Module) -> bool:
    """Whether a space has operators on a part of the channels."""
    return any(isinstance(module, PartialChannels) for module in space.modules()) or any(
        isinstance(module, Cell) and _is_partial_cell(module) for module in space.modules()
    )


def partial_channels(space: ModelSpace, k: int) -> ModelSpace:
    """Let all choices of operators, also those in cells, take 1/K of the channels, in place.

    The operators are made anew for so many channels, with weights drawn as torch does.

    Raises
    ------
    ValueError
        Naming the layer, if K does not divide its channels, or it is of a kind that cannot be made
        narrower; or the space, if it has no such choice.
    """
    if not _rewrite(space, k, ""):
        raise ValueError(
            f"{type(space).__name__} has no choice of operators, of whose channels a part could be "
            "taken; accepted are spaces with a LayerChoice or a Cell"
        )
    return space


def _rewrite(module: nn.Module, k: int, path: str) -> int:
    """Rewrite what is below a module; gives how many choices were found."""
    found = 0
    for name, child in list(module.named_children()):
        where = f"{path}{name}"
        if isinstance(child, LayerChoice):
            for key in child.names:
                child[key] = _narrowed(child[key], k, f"{where}.{key}")
            setattr(module, name, PartialChannels(child, k, where))
            found += 1
        elif isinstance(child, Cell) and child.op_candidates_factory is not None:
            _rewrite_cell(child, k, where)
            found += 1
        else:
            found += _rewrite(child, k, f"{where}.")
    return found


class PartialFactory:
    """Makes an operator of a cell on a part of the channels."""

    def __init__(self, factory: Callable[..., nn.Module], k: int, where: str) -> None:
        self.factory, self.k, self.where = factory, k, where

    def __call__(self, *place: Any) -> PartialChannels:
        operator = _narrowed(self.factory(*place), self.k, self.where)
        return PartialChannels(operator, self.k, self.where)


def _rewrite_cell(cell: Cell, k: int, where: str) -> None:
    factories: Any = cell.op_candidates_factory
    if isinstance(factories, dict):
        cell.op_candidates_factory = {
            name: PartialFactory(each, k, f"{where}.{name}") for name, each in factories.items()
        }
    else:
        cell.op_candidates_factory = [
            PartialFactory(each, k, f"{where}.{n}") for n, each in enumerate(factories)
        ]


def _is_partial_cell(cell: Cell) -> bool:
    factories: Any = cell.op_candidates_factory
    each = factories.values() if isinstance(factories, dict) else factories or ()
    return any(isinstance(one, PartialFactory) for one in each)


def _narrowed(module: nn.Module, k: int, where: str) -> nn.Module:
    """The same with 1/K of the channels: layers with weights are new ones."""
    if isinstance(module, MutableModule) and module.mutables:
        raise ValueError(f"{where!r} has choices of its own; accepted are operators without")
    if type(module) in CONVOLUTIONS:
        return _convolution(module, k, where)
    if type(module) in NORMS:
        return _norm(module, k, where)
    own = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
    if own:
        raise ValueError(
            f"{where!r} is a {type(module).__name__}; accepted with partial channels are "
            "convolutions, BatchNorm and what has no weights"
        )
    for name, child in list(module.named_children()):
        setattr(module, name, _narrowed(child, k, f"{where}.{name}"))
    return module


def _convolution(layer: Any, k: int, where: str) -> nn.Module:
    groups = 1 if layer.groups == 1 else _divided(layer.groups, k, f"groups of {where!r}")
    narrow: nn.Module = type(layer)(
        _divided(layer.in_channels, k, f"the channels of {where!r}"),
        _divided(layer.out_channels, k, f"the channels of {where!r}"),
        layer.kernel_size, layer.stride, layer.padding, layer.dilation, groups,
        layer.bias is not None, layer.padding_mode,
    )  # fmt: skip
    return narrow.to(layer.weight).train(layer.training)


def _norm(layer: Any, k: int, where: str) -> nn.Module:
    features = _divided(layer.num_features, k, f"the channels of {where!r}")
    narrow: nn.Module = type(layer)(
        features, layer.eps, layer.momentum, layer.affine, layer.track_running_stats
    )
    for held in (layer.weight, layer.running_mean):
        narrow = narrow if held is None else narrow.to(held)
    return narrow.train(layer.training)


def _divided(size: int, k: int, what: str) -> int:
    _check_divides(size, k, what)
    return size // k


def _check_divides(size: int, k: int, what: str) -> None:
    if size % k:
        raise ValueError(f"{what} is {size}; accepted are multiples of partial_channels, {k}")
