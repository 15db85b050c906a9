"""The few shims that NNI 3.0 needs on today's stack, each with its reason.

NNI's last release is from September 2023 and the libraries around it moved on. Every shim is as
narrow as it can be; none of them changes a function of another library.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import PosixPath
from typing import Any

__all__ = ["freeze", "nni_checkpoint_types", "plain_types"]


@contextlib.contextmanager
def nni_checkpoint_types() -> Iterator[None]:
    """Let ``torch.load`` read the checkpoint of an NNI experiment while the block runs.

    Since torch 2.6 a file is by default loaded with data types only, and the checkpoint of a
    ``NasExperiment`` with ``RegularizedEvolution`` also holds NNI's ``Individual`` records and
    numpy's random state. These types, and no others, are allowed::

        with nni_checkpoint_types():
            NasExperiment(space, evaluator, strategy, id=experiment_id).resume()
    """
    import torch
    from nni.nas.strategy.evolution import Individual

    with torch.serialization.safe_globals([Individual, *plain_types()]):
        yield


def plain_types() -> list[Any]:
    """What numpy's arrays and scalars and paths are pickled with: ``torch.load`` may read them."""
    import numpy as np

    array, scalar = np.empty(0).__reduce__()[0], np.float64(0).__reduce__()[0]
    dtypes = {type(np.dtype(code)) for code in np.typecodes["All"]}
    return [np.ndarray, np.dtype, array, scalar, *dtypes, PosixPath]


def freeze(supernet: Any, sample: Mapping[str, Any]) -> Any:
    """Freeze a supernet to the child that its path computes, with the weights that it inherits.

    NNI makes an operation of variable shape of every ``MutableConv2d``, and when that is frozen it
    gives ``None`` for a bias that is not there, at which ``load_state_dict`` stops. So no supernet
    of NNI's hub could be frozen. What is not there is left out here, for this one call. Cells,
    which NNI builds anew or not at all, are frozen by :mod:`nni_magic.support.cells`.
    """
    from nni.nas.oneshot.pytorch.supermodule.base import BaseSuperNetModule
    from nni.nas.oneshot.pytorch.supermodule.operation import MixedOperation

    from .cells import freeze_root, own_freeze

    if not any(isinstance(module, BaseSuperNetModule) for module in supernet.modules()):
        return supernet.freeze(sample)
    mended: list[tuple[Any, str]] = []
    for module in supernet.modules():
        if isinstance(module, MixedOperation):
            module.__dict__["freeze_weight"] = partial(_weights_there, module)
            mended.append((module, "freeze_weight"))
        elif (own := own_freeze(module)) is not None:
            module.__dict__["freeze"] = own
            mended.append((module, "freeze"))
    try:
        return freeze_root(supernet, sample)
    finally:
        for module, name in mended:
            module.__dict__.pop(name, None)  # a supernet of parts freezes one of them by this, too


def _weights_there(module: Any, **arguments: Any) -> dict[str, Any]:
    weights = type(module).freeze_weight(module, **arguments)
    return {name: weight for name, weight in weights.items() if weight is not None}
