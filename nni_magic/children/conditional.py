"""Whether the choices of a space depend on each other."""

from __future__ import annotations

from collections.abc import Mapping

import nni_bootstrap  # noqa: F401
from nni.mutable import LabeledMutable, Mutable
from nni.nas.nn.pytorch import MutableModule

__all__ = ["is_conditional"]


def is_conditional(space: Mutable | Mapping[str, LabeledMutable]) -> bool:
    """Tell whether choices sit inside modules that a sample may leave out.

    NNI's modules that use only a part of themselves (LayerChoice, Repeat) say so by a
    ``check_contains`` of their own.
    """
    if not isinstance(space, MutableModule):
        return False
    return any(
        type(module).check_contains is not MutableModule.check_contains
        and next(iter(module.mutable_descendants()), None) is not None
        for module in space.modules()
        if isinstance(module, MutableModule)
    )
