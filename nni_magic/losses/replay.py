"""Repeat the evaluator's call of the model on another child's path, for its hidden states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from nni.mutable import Sample
from torch import nn

from ..supernet.alignable import form_of
from ..supernet.hidden_states import Call, States, as_anchor, hooked, recorded
from ..supernet.routing import Router

__all__ = ["CallReplay"]


class CallReplay:
    """Hidden states of any child for the inputs that the model was called with.

    The pass ends after the last layer wanted. Dropout is off, and BatchNorm uses the batch's
    statistics without writing its buffers. The supernet's path stays on that child.

    Parameters
    ----------
    model
        The supernet.
    layers
        The layers by name; see :mod:`nni_magic.supernet.layers`.
    router
        That of the supernet.
    gradient
        Whether the states have a gradient.
    """

    def __init__(
        self, model: nn.Module, layers: Mapping[str, nn.Module], router: Router, *, gradient: bool
    ) -> None:
        self.model = model
        self.layers = layers
        self.router = router
        self.gradient = gradient
        self._modules = list(model.modules())

    def __call__(self, call: Call, sample: Sample) -> States:
        """Hidden states by layer.

        Raises
        ------
        ValueError
            If the child's path does not run through all the layers.
        """
        states: States = {}
        self.router.set(sample)
        with as_anchor(self._modules), torch.set_grad_enabled(self.gradient):  # noqa: SIM117
            with hooked(self.layers, states, stop=True):
                call.repeat(self.model)
        if missing := [name for name in self.layers if name not in states]:
            raise ValueError(f"aligned layers {missing} are not run by the child {sample}")
        return states

    def check_shapes(self, call: Call, children: Sequence[Sample]) -> None:
        """Make sure that the hidden states of these children can be compared.

        Raises
        ------
        ValueError
            If a layer's output is neither a tensor nor a list of tensors, its shape differs between
            two children, or it is changed in place behind the layer.
        """
        self.router.set(children[0])
        with as_anchor(self._modules), torch.no_grad(), recorded(self.model, self.layers):
            call.repeat(self.model)
        shapes: dict[str, Any] = {}
        for child in children:
            for name, state in self(call, child).items():
                if (form := form_of(state)) is None:
                    raise ValueError(
                        f"the output of aligned layer {name!r} is a {type(state).__name__}, "
                        "neither a tensor nor a list of tensors; pass other aligned_layers"
                    )
                if (shape := shapes.setdefault(name, form)) != form:
                    raise ValueError(
                        f"aligned layer {name!r} gives shape {shape} for one child and "
                        f"{form} for another; pass aligned_layers whose outputs have one shape for "
                        "every child"
                    )
