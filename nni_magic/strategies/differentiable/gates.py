"""Gates of a choice: one path computes, and all candidates give the gradient of its gate.

Layers and inputs are those of NNI's ``Proxyless``, with the path that the strategy sets. NNI's take
and give tensors alone; these may be called with keywords, take anything, and give tuples, lists and
dicts that hold tensors, and whatever else torch's ``pytree`` knows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import nni_bootstrap  # noqa: F401
import torch
from nni.nas.oneshot.pytorch.supermodule.differentiable import (
    DifferentiableMixedInput,
    DifferentiableMixedLayer,
)
from nni.nas.oneshot.pytorch.supermodule.proxyless import ProxylessMixedInput, ProxylessMixedLayer
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.utils._pytree import tree_flatten, tree_unflatten

from ...supernet.batches import copy_of
from ...support.snapshot import PLAIN

__all__ = ["GatedInput", "GatedLayer"]


class GatedLayer(ProxylessMixedLayer):
    """NNI's, with the path that the strategy sets."""

    path: int = 0

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        # A candidate may write into what it is given.
        return _gated(
            self, (args, kwargs), self._call, lambda i, kept: self._call(i, copy_of(kept))
        )

    def _call(self, index: int, given: Any) -> Any:
        args, kwargs = given
        return self[self.names[index]](*args, **kwargs)

    def export(self, memo: dict[str, Any]) -> Any:
        return DifferentiableMixedLayer.export(self, memo)


class GatedInput(ProxylessMixedInput):
    """NNI's, with the path that the strategy sets."""

    path: int = 0

    def forward(self, inputs: Any) -> Any:
        return _gated(self, inputs, _pick, _pick)

    def export(self, memo: dict[str, Any]) -> Any:
        return DifferentiableMixedInput.export(self, memo)


def _pick(index: int, inputs: Any) -> Any:
    return inputs[index]


def _gated(
    gate: GatedLayer | GatedInput,
    given: Any,
    of_path: Callable[[int, Any], Any],
    of_other: Callable[[int, Any], Any],
) -> Any:
    """What the gate's path gives, through which the architecture parameters have a gradient.

    Parameters
    ----------
    gate
        Holds the architecture parameters and the path.
    given
        What all candidates are given.
    of_path
        Computes a candidate, given its number and what it is given.
    of_other
        Likewise, and leaves what it is given as it is.

    Raises
    ------
    ValueError
        If the candidates, which the backward pass computes, give no tensors that have a gradient,
        or other ones than the path.
    """
    alpha, path = gate._arch_alpha, gate.path
    if not gate.training:
        return of_path(int(alpha.argmax()), given)
    if not alpha.requires_grad:
        return of_path(path, given)
    # Copies, here and below, because the path and what is behind may write into what they get.
    with torch.no_grad():
        kept = copy_of(given)
    device = alpha.device.type
    autocast = partial(
        torch.autocast, device, torch.get_autocast_dtype(device), torch.is_autocast_enabled(device)
    )

    output = _Output.of(gate, path, of_path(path, given))
    form, shapes, said = output.form, output.shapes, str(output)  # not what would hold memory

    def of_candidate(index: int) -> Sequence[Tensor]:
        with autocast():  # which is over in the backward pass
            other = _Output.of(gate, index, of_other(index, kept))
        if other.form != form or other.shapes != shapes:
            raise ValueError(
                f"candidate {index} of {gate.label!r} gives {other}, and candidate {path} {said}; "
                "accepted by Proxyless are candidates that give the same"
            )
        return other.tensors

    own = [tensor.clone() for tensor in output.tensors]
    return output.with_tensors(_Gate.apply(of_candidate, path, gate._softmax, alpha, *own))


class _Gate(torch.autograd.Function):
    """Passes the path's outputs on, and gives the architecture its gradient by all candidates."""

    @staticmethod
    def forward(
        ctx: Any, of_candidate: Callable[[int], Sequence[Tensor]], path: int,
        softmax: Callable[[Tensor], Tensor], alpha: Tensor, *outputs: Tensor,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        ctx.of_candidate, ctx.path, ctx.softmax = of_candidate, path, softmax
        ctx.save_for_backward(alpha, *outputs)
        return tuple(output.clone() for output in outputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        alpha, *outputs = ctx.saved_tensors
        of_gates = torch.zeros_like(alpha)
        absent = [gradient == 0 for gradient in gradients]
        for index in range(len(alpha)):
            found = outputs if index == ctx.path else ctx.of_candidate(index)
            # What has no gradient has no part, as minus infinity in a mask.
            products = [
                (gradient * each).masked_fill_(none, 0).sum()
                for gradient, each, none in zip(gradients, found, absent, strict=True)
            ]
            of_gates[index] = torch.stack(products).sum()
        theta = ctx.softmax(alpha)
        of_alpha = theta * (of_gates - (theta * of_gates).sum())
        return None, None, None, of_alpha, *gradients


class _Output(NamedTuple):
    """What a candidate gives: its leaves, their form, and the places of those with a gradient."""

    leaves: list[Any]
    form: Any
    places: list[int]

    @classmethod
    def of(cls, gate: GatedLayer | GatedInput, index: int, output: Any) -> _Output:
        leaves, form = tree_flatten(output)
        strange = [
            leaf for leaf in leaves
            if not isinstance(leaf, (Tensor, *PLAIN))
            or (isinstance(leaf, Tensor) and leaf.is_complex())
        ]  # fmt: skip
        found = cls(leaves, form, [
            place for place, leaf in enumerate(leaves)
            if isinstance(leaf, Tensor) and leaf.is_floating_point()
        ])  # fmt: skip
        if strange or not found.places:
            raise ValueError(
                f"candidate {index} of {gate.label!r} gives {found}; accepted by Proxyless are "
                "tensors of floating-point numbers, in tuples, lists and dicts, beside plain values"
            )
        return found

    @property
    def tensors(self) -> list[Tensor]:
        return [self.leaves[place] for place in self.places]

    @property
    def shapes(self) -> dict[int, torch.Size]:
        return {place: self.leaves[place].shape for place in self.places}

    def with_tensors(self, tensors: Sequence[Tensor]) -> Any:
        leaves = list(self.leaves)
        for place, tensor in zip(self.places, tensors, strict=True):
            leaves[place] = tensor
        return tree_unflatten(leaves, self.form)

    def __str__(self) -> str:
        names = [
            f"{leaf.dtype}{list(leaf.shape)}".removeprefix("torch.")
            if isinstance(leaf, Tensor) else type(leaf).__name__
            for leaf in self.leaves
        ]  # fmt: skip
        try:
            return str(tree_unflatten(names, self.form)).replace("'", "")
        except Exception:  # whatever a class raises that is made of names in place of tensors
            return ", ".join(names)
