"""All candidates of a choice in a mixture are given the same, and have to leave it as it is.

A candidate that writes into it, as one that begins with ``ReLU(inplace=True)``, would silently give
the others something else than they get in a child. ProxylessNAS, where a path computes alone, gives
the others copies and needs no such check.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import nni_bootstrap  # noqa: F401
import torch
from nni.nas.oneshot.pytorch.supermodule.differentiable import (
    DifferentiableMixedCell,
    DifferentiableMixedLayer,
    DifferentiableMixedRepeat,
)
from nni.nas.oneshot.pytorch.supermodule.proxyless import ProxylessMixedLayer
from torch import nn

from ...supernet.batches import changes_of

__all__ = ["refuse_writes"]


def refuse_writes(mixture: nn.Module) -> None:
    """Let a training step raise a ``ValueError`` if a candidate writes into what others are given.

    Seen are tensors in tuples, lists and dicts.
    """
    for module in mixture.modules():
        for name, part in _parts(module):
            watch = _Watch(name)
            part.register_forward_pre_hook(watch.before, with_kwargs=True)
            part.register_forward_hook(watch.behind, with_kwargs=True)


def _parts(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """What shares its input, each with a name for an error."""
    if isinstance(module, DifferentiableMixedLayer):
        if not isinstance(module, ProxylessMixedLayer):
            for name in module.names:
                yield f"candidate {name!r} of {module.label!r}", module[name]
    elif isinstance(module, DifferentiableMixedCell):
        for edges in module.ops:
            for operators in edges:
                for name, operator in operators.items():
                    inner = getattr(operator, "operator", operator)  # on a part of the channels
                    yield f"candidate {name!r} of {module.label!r}", inner
    elif isinstance(module, DifferentiableMixedRepeat):
        # What a block gives may also be what the whole gives, at a smaller depth.
        first = min(module.depth_choice.grid())
        for i, block in enumerate(module.blocks):
            if i >= first:
                yield f"block {i} of the Repeat {str(module.depth_choice)!r}", block


class _Watch:
    """Compares what a module is given before and behind it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._before = 0

    def before(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        if torch.is_grad_enabled():
            self._before = changes_of((args, kwargs))

    def behind(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        if torch.is_grad_enabled() and changes_of((args, kwargs)) != self._before:
            raise ValueError(
                f"{self._name} writes into what it is given, which others are given, too; accepted "
                "in a mixture are those that leave it as it is, such as ReLU without inplace"
            )
