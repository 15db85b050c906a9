"""Find the layers of a supernet whose outputs can be aligned between children, by running some."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from lightning_utilities.core.apply_func import apply_to_collection
from nni.mutable import Sample
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from .hidden_states import Call, as_anchor, versions_of
from .layers import outermost_blocks
from .routing import Router

__all__ = ["form_of", "obstacles"]

NO_TENSOR = "neither tensors nor lists or tuples of them"
SHAPES = "of different shapes in different children"
CHANGED = "changed in place behind the layer"
MASKED = "without the dimensions of the padding mask, which mask_argument=None leaves out"
LEFT_OUT = "not there in every child"
UNREAD = "read by no other layer, but by the head alone"


def form_of(output: Any) -> Any:
    """Shape of a layer's output, or a list of shapes.

    Returns
    -------
    tuple, list or None
        Nothing if it is neither a tensor nor a list or tuple of tensors.
    """
    if isinstance(output, Tensor):
        return tuple(output.shape)
    several = output if isinstance(output, (list, tuple)) else []
    if several and all(isinstance(each, Tensor) for each in several):
        return [tuple(each.shape) for each in several]
    return None


def obstacles(
    model: nn.Module,
    layers: Mapping[str, nn.Module],
    call: Call,
    children: Sequence[Sample],
    router: Router,
    positions: tuple[int, ...] = (),
) -> dict[str, str]:
    """Tell which layers cannot, or should not, be aligned, and why.

    What no other layer reads is left out: it goes to the head, and alignment would pull the
    predictions of all children to one child's.

    Parameters
    ----------
    model
        The supernet; its path is left on one of the children.
    layers
        By name.
    call
        Inputs of the model.
    children
        Children that together hold all candidates.
    router
        Sets the supernet's path.
    positions
        Shape of the padding mask, with which the shape of every state has to begin.

    Returns
    -------
    dict
        Name of a layer to the obstacle.
    """
    found: dict[str, str] = {}
    forms: dict[str, Any] = {}
    unread = set(layers)
    with as_anchor(list(model.modules())):
        for child in children:
            router.set(child)
            seen, changed = _outputs(model, layers, call)
            for name in layers:
                form = form_of(seen.get(name))
                if name not in seen:
                    found.setdefault(name, LEFT_OUT)
                elif form is None:
                    found.setdefault(name, NO_TENSOR)
                elif form != forms.setdefault(name, form):
                    found.setdefault(name, SHAPES)
                elif not _begins_with(form, positions):
                    found.setdefault(name, MASKED)
                elif name in changed:
                    found.setdefault(name, CHANGED)
            if len(unread - found.keys()) > 1:  # one is left of a chain, the last
                unread -= _read(model, layers, call)
    return {name: found.get(name, UNREAD) for name in layers if name in found or name in unread}


def _begins_with(form: Any, positions: tuple[int, ...]) -> bool:
    """Whether a shape, or every one of a list of shapes, begins with another."""
    shapes = form if isinstance(form, list) else [form]
    return all(shape[: len(positions)] == positions for shape in shapes)


def _outputs(
    model: nn.Module, layers: Mapping[str, nn.Module], call: Call
) -> tuple[dict[str, Any], set[str]]:
    """The first output of every layer, and names of those that are changed in place later."""
    outputs: dict[str, Any] = {}
    versions: dict[str, list[int]] = {}

    def note(name: str, output: Any) -> None:
        outputs.setdefault(name, output)
        versions.setdefault(name, versions_of(output))

    handles = [
        layer.register_forward_hook(lambda module, args, output, name=name: note(name, output))
        for name, layer in layers.items()
    ]
    with _removing(handles), torch.no_grad():
        call.repeat(model)
    return outputs, {name for name in outputs if versions_of(outputs[name]) != versions[name]}


def _read(model: nn.Module, layers: Mapping[str, nn.Module], call: Call) -> set[str]:
    """Names of the layers whose output another layer, or a choice block, computes with."""
    cuts: dict[int, tuple[str, Tensor]] = {}
    inputs: list[Any] = []

    def cut(name: str, output: Tensor) -> Tensor:
        """Let the graph behind the layer begin at a leaf that tells the layer's name."""
        if not output.is_floating_point():
            return output
        leaf = output.detach().requires_grad_()
        cuts[id(leaf)] = name, leaf
        return leaf.clone()  # a leaf may not be changed in place

    handles = [
        layer.register_forward_hook(
            lambda module, args, output, name=name: apply_to_collection(
                output, Tensor, lambda tensor: cut(name, tensor)
            )
        )
        for name, layer in layers.items()
    ]
    for reader in {*layers.values(), *outermost_blocks(model)}:
        handles.append(
            reader.register_forward_pre_hook(
                lambda module, args, kwargs: _note_nodes((args, kwargs), inputs), with_kwargs=True
            )
        )
    with _removing(handles), torch.enable_grad():
        call.repeat(model)
    return {cuts[leaf][0] for leaf in _leaves(inputs) if leaf in cuts}


def _note_nodes(given: Any, nodes: list[Any]) -> None:
    def note(tensor: Tensor) -> Tensor:
        if tensor.grad_fn is not None:
            nodes.append(tensor.grad_fn)
        return tensor

    apply_to_collection(given, Tensor, note)


def _leaves(nodes: list[Any]) -> set[int]:
    """Identities of the leaves that a graph comes from."""
    known, leaves = set(nodes), set()
    while nodes:
        node = nodes.pop()
        if (leaf := getattr(node, "variable", None)) is not None:
            leaves.add(id(leaf))
        further = {before for before, _ in node.next_functions if before is not None} - known
        known |= further
        nodes.extend(further)
    return leaves


@contextlib.contextmanager
def _removing(handles: Sequence[RemovableHandle]) -> Iterator[None]:
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
