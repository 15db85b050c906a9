"""Children that are exported as they are frozen out of a supernet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from lightning_fabric.utilities import move_data_to_device
from nni.mutable import Sample
from nni.nas.nn.pytorch import ModelSpace
from nni.nas.oneshot.pytorch.supermodule.base import BaseSuperNetModule
from torch import nn

from ..scoring.evaluator_state import evaluating
from ..supernet.hidden_states import Call
from ..supernet.inheritance import NotInherited, check_inherits
from ..supernet.resume import isolated_randomness, seed_generators
from ..supernet.routing import Router
from ..support.compat import freeze

__all__ = ["inherited_child"]


def inherited_child(
    space: ModelSpace, sample: Sample, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> nn.Module:
    """Freeze a child, and make sure that it has the weights of the space.

    Parameters
    ----------
    space
        A path-sampling supernet, whose path is then the child's, or a model space.
    sample
        The child.
    args, kwargs
        Example inputs, on which the child is compared with its path; inputs that the supernet does
        not accept are left to who exports the child.

    Raises
    ------
    ValueError
        If the child differs from its path, or a model space gives it new weights.
    """
    child = freeze(space, sample)
    if not any(isinstance(module, BaseSuperNetModule) for module in space.modules()):
        _check_kept(space, sample)
        return child
    router = Router.of(space)
    router.forget()
    router.set(sample)
    device = next((p.device for p in space.parameters()), torch.device("cpu"))
    inputs = Call(*move_data_to_device((tuple(args), dict(kwargs)), device))
    with evaluating(space), evaluating(child):
        try:
            check_inherits(child, space, sample, inputs)
        except NotInherited:
            raise
        except Exception:  # whatever the user's model raises; the export says that it does
            return child
    return child


def _check_kept(space: ModelSpace, sample: Sample) -> None:
    """Freeze with two seeds: weights that differ are new ones."""
    states = []
    for seed in (0, 1):
        with isolated_randomness():
            seed_generators(seed)
            states.append(freeze(space, sample).state_dict())
    if not all(torch.equal(states[0][name], states[1][name]) for name in states[0]):
        raise ValueError(
            f"{type(space).__name__} is no supernet, and gives a frozen child new random weights; "
            "accepted are spaces that keep theirs, and the supernet that was trained"
        )
