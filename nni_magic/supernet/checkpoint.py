"""The checkpoint of a supernet: written whole or not at all, and read again."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from nni.nas.nn.pytorch import ModelSpace
from nni.nas.oneshot.pytorch.strategy import RandomOneShot
from nni.nas.oneshot.pytorch.supermodule.base import BaseSuperNetModule
from pytorch_lightning.plugins.io import TorchCheckpointIO
from torch import Tensor

from .. import __version__
from ..children import samples
from ..support.files import atomic_file

__all__ = [
    "CHECKPOINT_KEY", "FORMAT", "AtomicCheckpointIO", "check_resumable", "check_space",
    "load_supernet", "read_checkpoint",
]  # fmt: skip

CHECKPOINT_KEY = "nni_magic"
"""Where a Lightning checkpoint holds the strategies' own state."""

FORMAT = 1
"""Version of that state. Before it was counted, in 0.3, a state had another form."""

WEIGHTS = "training_module._model."  # NNI keeps the model of its LightningModule there


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes checkpoints so that a kill leaves the one before, for Lightning's ``plugins``.

    Lightning writes into the system's folder of temporary files and moves. Where that is on
    another disk, the move is a copy over the checkpoint that was there.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write a checkpoint to a local path; see :func:`nni_magic.support.files.atomic_file`.

        Raises
        ------
        TypeError
            If there are storage options, which only remote paths have.
        """
        if storage_options is not None:
            raise TypeError(f"storage_options is {storage_options!r}; local paths have none")
        with atomic_file(path) as file:
            torch.save(checkpoint, file)


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a Lightning checkpoint that a strategy of ``nni_magic`` wrote; tensors on the CPU.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is cut off, or something else.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"checkpoint is {str(path)!r}, which is not a file")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises all kinds, depending on where a file is cut off
        raise ValueError(
            f"checkpoint {str(path)!r} cannot be read: it is cut off, or no checkpoint at all"
        ) from error
    if not isinstance(checkpoint, dict) or CHECKPOINT_KEY not in checkpoint:
        raise ValueError(
            f"checkpoint {str(path)!r} holds no state of nni_magic: it was not written by one of "
            "its strategies"
        )
    return checkpoint


def check_resumable(checkpoint: Mapping[str, Any], method: str) -> None:
    """Make sure that a method can continue the training that a checkpoint is of.

    Parameters
    ----------
    checkpoint
        The whole Lightning checkpoint.
    method
        The name under which the state was written: strategy and sampler.

    Raises
    ------
    ValueError
        If it holds no state of a strategy, or one of another method or another version.
    """
    if CHECKPOINT_KEY not in checkpoint:
        raise ValueError(
            "the checkpoint holds no state of nni_magic: it was not written by one of its "
            f"strategies; its keys are {sorted(checkpoint)}"
        )
    state = checkpoint[CHECKPOINT_KEY]
    if state.get("format") != FORMAT:
        raise ValueError(
            f"the checkpoint was written by nni-magic {state.get('version', '0.3 or before')}, and "
            f"{__version__} cannot continue its training, only search and export it; go on with "
            "that version"
        )
    if state["method"] != method:
        raise ValueError(
            f"the checkpoint was written by {state['method']}, and {method} cannot continue it"
        )


def check_space(checkpoint: Mapping[str, Any], space: ModelSpace) -> None:
    """Make sure that a checkpoint is of a space, by its labels and their choices.

    Choices that progressive shrinking has deleted are missing in the checkpoint.

    Raises
    ------
    ValueError
        Naming what differs.
    """
    theirs = checkpoint[CHECKPOINT_KEY]["sampler"]["candidates"]
    ours = samples.candidates(space)
    if differing := sorted(theirs.keys() ^ ours.keys()):
        raise ValueError(f"the checkpoint is of another space; labels that differ: {differing}")
    for label, choices in theirs.items():
        if foreign := [choice for choice in choices if choice not in ours[label]]:
            raise ValueError(
                f"the checkpoint is of another space: its label {label!r} has a choice "
                f"{foreign[0]!r}, the space's only {ours[label]}"
            )


def load_supernet(path: str | Path, space: ModelSpace) -> ModelSpace:
    """Turn a space into a supernet, in place, with the weights of a checkpoint.

    Parameters
    ----------
    path
        The checkpoint.
    space
        The space that the supernet was trained on, built anew; or a supernet of it. Its weights
        then have the precision of the training, such as 64-true.

    Raises
    ------
    FileNotFoundError, ValueError
        As :func:`read_checkpoint` and :func:`check_space`; or if weights do not fit the space.
    """
    checkpoint = read_checkpoint(path)
    check_space(checkpoint, space)
    if not any(isinstance(module, BaseSuperNetModule) for module in space.modules()):
        space = RandomOneShot().mutate_model(space)
    weights = {
        name.removeprefix(WEIGHTS): value
        for name, value in checkpoint["state_dict"].items()
        if name.startswith(WEIGHTS)
    }
    _check_weights(weights, space.state_dict())
    _take_precision(space, weights)
    space.load_state_dict(weights)
    return space


def _take_precision(space: ModelSpace, weights: Mapping[str, Tensor]) -> None:
    """Give parameters and buffers the types of a checkpoint's, so that none are rounded."""
    for name, own in chain(space.named_parameters(), space.named_buffers()):
        if name in weights and own.dtype != weights[name].dtype:
            own.data = own.data.to(weights[name].dtype)


def _check_weights(given: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    for name in dict.fromkeys([*wanted, *given]):
        shapes = [tuple(w[name].shape) if name in w else "missing" for w in (given, wanted)]
        if shapes[0] != shapes[1]:
            raise ValueError(
                f"the checkpoint's weights do not fit the space: {name!r} is {shapes[0]} in the "
                f"checkpoint and {shapes[1]} in the space"
            )
