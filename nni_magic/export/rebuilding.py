"""Weights under the names of the child that NNI builds anew.

A child that is frozen out of a supernet has its parameters where the space has them. The one that
is built anew with ``model_context(sample)`` may have them under other names, because a space may
build differently what is already chosen: NNI's own MobileNetV3 leaves out the squeeze-excite that
is skipped, and what follows moves up by one. The order of parameters stays, and whether it does is
seen from what both compute. Settings of layers that are not in a state, such as BatchNorm's
``eps``, may differ too: the supernet that NNI's own strategies make of a hub space takes the
default, the child the space's.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from nni.mutable import Sample
from nni.nas.nn.pytorch import ModelSpace
from nni.nas.space import model_context
from torch import nn

from ..supernet.resume import isolated_randomness
from .programs import Inputs, check_outputs

__all__ = ["built_anew", "weights_to_load"]

TOLERANCE = 1e-5
"""Between outputs: they come of the same operations on the same numbers."""


def built_anew(space: ModelSpace, sample: Sample) -> nn.Module:
    """Build a child as a user does, with the arguments that the space was made with."""
    args, kwargs = copy.deepcopy((space.trace_args, space.trace_kwargs))
    with model_context(dict(sample)):  # a space may write to it
        return type(space)(*args, **kwargs).eval()


def weights_to_load(
    child: nn.Module, space: ModelSpace, sample: Sample, inputs: Inputs
) -> tuple[dict[str, Any], str | None]:
    """Give a child's state under the names of the same child built anew.

    Parameters
    ----------
    child
        In evaluation mode, on the CPU.
    space, sample
        The model space or supernet, and which child it is.
    inputs
        Example inputs, on which both children are compared.

    Returns
    -------
    dict
        The state, which loads strictly into the child built anew; if that has other weights, or
        computes something else with them, under the child's own names.
    str or None
        What keeps the child built anew from being the same, if anything does.
    """
    own = child.state_dict()
    with isolated_randomness():
        try:
            anew = built_anew(space, sample)
        except Exception as error:  # whatever the user's space raises
            return own, f"it cannot be built anew: {type(error).__name__}: {error}"
        problem = _other_weights(own, anew.state_dict())
        for state in _renamed(own, anew.state_dict()):
            try:
                anew.load_state_dict(state, assign=True)  # also where their types differ
                settings = _take_settings(child, anew)
                check_outputs(anew, child, inputs, TOLERANCE)
            except Exception as error:
                problem = f"built anew it computes something else: {error}"
            else:
                return state, settings
    return own, problem


def _renamed(own: Mapping[str, Any], anew: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Give the states that may be loaded: by the same names, and by the same order."""
    if own.keys() == anew.keys():
        yield dict(own)
    if [_kind(*each) for each in own.items()] == [_kind(*each) for each in anew.items()]:
        yield dict(zip(anew, own.values(), strict=True))


def _kind(name: str, value: Any) -> tuple[str, Any]:
    return name.rpartition(".")[2], getattr(value, "shape", None)


def _other_weights(own: Mapping[str, Any], anew: Mapping[str, Any]) -> str:
    lacking, unknown = sorted(anew.keys() - own.keys()), sorted(own.keys() - anew.keys())
    return f"built anew it has other weights: {lacking[:3]} in place of {unknown[:3]}"


def _take_settings(child: nn.Module, anew: nn.Module) -> str | None:
    """Give layers built anew the child's settings, and name the first one that had others."""
    differing = None
    for (_, one), (name, other) in zip(_layers(child), _layers(anew), strict=False):
        old, new = _settings(one), _settings(other)
        changed = {key: old[key] for key in old if old[key] != new.get(key, old[key])}
        if changed and differing is None:
            before = {key: new[key] for key in changed}
            differing = f"built anew its {name!r} has {before}, and not {changed}"
        for key, value in changed.items():
            setattr(other, key, value)
    return differing


def _settings(layer: nn.Module) -> dict[str, Any]:
    """Give what torch's layers declare as their constants, such as a stride."""
    names = getattr(layer, "__constants__", ())
    return {name: vars(layer)[name] for name in names if name in vars(layer)}


def _layers(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Give the layers that have weights or statistics, in the order of a state."""
    return (
        (name, layer)
        for name, layer in module.named_modules()
        if [*layer.parameters(recurse=False), *layer.buffers(recurse=False)]
    )
