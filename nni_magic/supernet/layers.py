"""The layers of a model, by name and number."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence

import torch
from nni.nas.oneshot.pytorch.supermodule.base import BaseSuperNetModule
from torch import nn

from .hidden_states import Call, States, as_anchor, hooked

__all__ = ["choice_blocks", "named_layers", "numbered_layers", "outermost_blocks"]


def numbered_layers(model: nn.Module, call: Call) -> dict[str, nn.Module]:
    """List the layers of a model.

    They are those that its method ``hidden_layers()`` lists, if it has one; otherwise its choice
    blocks in order of execution (of nested ones the outermost).

    Parameters
    ----------
    model
        The supernet, with a path set.
    call
        Inputs to find the order of execution with.

    Returns
    -------
    dict
        Name to layer; the first has number 1.
    """
    names = {id(module): name for name, module in model.named_modules()}
    named = getattr(model, "hidden_layers", None)
    layers = list(named()) if inspect.ismethod(named) else choice_blocks(model, call)
    return {names[id(layer)]: layer for layer in layers}


def named_layers(
    model: nn.Module, call: Call, wanted: Sequence[int | str]
) -> dict[str, nn.Module]:
    """Find the layers that are asked for.

    Parameters
    ----------
    model, call
        As of :func:`numbered_layers`.
    wanted
        Layers by number, from 1, or modules by their name in ``model.named_modules()``.

    Returns
    -------
    dict
        Name of a module to the module, as listed.

    Raises
    ------
    ValueError
        If there is no such layer, or none is asked for.
    """
    numbered = list(numbered_layers(model, call))
    known = f"the numbers 1 to {len(numbered)} of the layers {', '.join(numbered)}"
    if not wanted:
        raise ValueError(
            f"aligned_layers is {wanted!r}; accepted are one or more of {known}, and of the names "
            "of modules"
        )
    modules = dict(model.named_modules())
    selected = {}
    for layer in wanted:
        name = layer if isinstance(layer, str) else dict(enumerate(numbered, 1)).get(layer, "")
        if not name or name not in modules:
            raise ValueError(
                f"aligned_layers holds {layer!r}; accepted are {known}, and names of modules of "
                "the model"
            )
        selected[name] = modules[name]
    return selected


def choice_blocks(model: nn.Module, call: Call) -> list[nn.Module]:
    """Choice blocks that a call runs on the path set, in order of execution.

    Of nested blocks the outermost alone.
    """
    blocks = {str(i): block for i, block in enumerate(outermost_blocks(model))}
    states: States = {}
    with as_anchor(list(model.modules())), torch.no_grad():  # noqa: SIM117 - hooks go innermost
        with hooked(blocks, states, stop=False):
            call.repeat(model)
    return [blocks[name] for name in states]


def outermost_blocks(module: nn.Module) -> Iterator[nn.Module]:
    """Choice blocks of a supernet, in the order in which they are registered."""
    for child in module.children():
        # NNI's operations of variable shape take the place of those of fixed shape, too.
        if isinstance(child, BaseSuperNetModule) and child.simplify():
            yield child
        else:
            yield from outermost_blocks(child)
