"""Make sure that a child computes what its path in the supernet computes.

A score is taken on the path. A child that is handed out as the one of the score must have the
weights of the path and run them in the same way, which NNI's ``freeze`` does not promise: a space
or a module may build itself anew there.
"""

from __future__ import annotations

import torch
from nni.mutable import Sample
from torch import nn

from ..children.samples import digest
from .hidden_states import Call
from .outputs import alike, tolerance
from .resume import isolated_randomness, seed_generators

__all__ = ["NotInherited", "check_inherits"]


ON_CPU = 1e-4
"""By how much outputs may differ on a CPU, relative to the largest: as those of an export. The same
numbers go through the same operations; a GPU may take other ones for each, of TF32."""


class NotInherited(ValueError):
    """A child does not compute what its path computes."""


def check_inherits(child: nn.Module, supernet: nn.Module, sample: Sample, call: Call) -> None:
    """Compare a child with the path that is set, on one call, with the same random numbers.

    Parameters
    ----------
    child
        The stand-alone child, in evaluation mode.
    supernet
        In evaluation mode, with the child's path set, and its BatchNorm statistics in place.
    sample
        Which child it is.
    call
        Inputs of the model; only their copies are given to the two.

    Raises
    ------
    NotInherited
        If they give other outputs.
    """
    outputs = []
    device = next((p.device.type for p in supernet.parameters()), "cpu")
    with isolated_randomness(), torch.no_grad(), torch.autocast(device, enabled=False):
        for model in (child, supernet):
            seed_generators(0)
            outputs.append(call.repeat(model))
        own, of_path = outputs
        same = alike(own, of_path, ON_CPU if device == "cpu" else tolerance())
    if not same:
        name = type(supernet).__name__
        raise NotInherited(
            f"freeze of {name} gives a child {digest(sample)} with other outputs than its path in "
            f"the supernet, which has the weights and the score: {name}, or a module in it, builds "
            "itself anew or runs something else there. Let its freeze keep the modules of the "
            "path, as nni.nas.nn.pytorch.MutableModule.freeze does"
        )
