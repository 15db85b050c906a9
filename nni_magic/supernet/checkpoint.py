"""The checkpoint of a supernet: written whole or not at all, and read again."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from nni.nas.nn.pytorch import ModelSpace
from pytorch_lightning.plugins.io import TorchCheckpointIO
from torch import Tensor

from .. import __version__
from ..children import samples
from ..support.files import atomic_file
from .conversion import to_supernet
from .parted import with_parts_of
from .partial_channels import is_partial, partial_channels
from .sealed import check_seal, load_plain, save_sealed

__all__ = [
    "CHECKPOINT_KEY", "FORMAT", "AtomicCheckpointIO", "check_resumable", "check_space",
    "check_training", "guard", "load_supernet", "read_checkpoint", "require_file",
]  # fmt: skip

CHECKPOINT_KEY = "nni_magic"
"""Where a Lightning checkpoint holds the strategies' own state."""

FORMAT = 2
"""Version of that state.

1 kept the alignment's anchor without its layers; before it was counted, in 0.3, a state had
another form. Weights and sampler have stayed the same, so that all can be searched.
"""

STATE = (
    "method", "seed", "sampler", "turns", "child_step", "skipped_steps", "panel", "leaderboard",
    "replay", "shrinking", "terms",
)  # fmt: skip
"""What that state has, in this version."""

LIGHTNING = ("pytorch-lightning_version", "state_dict")
"""What every checkpoint of Lightning has."""

TRAINING = {"optimizer_states": list, "lr_schedulers": list, "loops": dict}
"""What one has that a training can be continued with."""

WEIGHTS = "training_module._model."  # NNI keeps the model of its LightningModule there


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes checkpoints so that a kill leaves the one before, for Lightning's ``plugins``.

    Lightning writes into the system's folder of temporary files and moves. Where that is on
    another disk, the move is a copy over the checkpoint that was there. A digest at the end of the
    file tells when one is read whether it is as it was written.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write a checkpoint; to a local path with :func:`nni_magic.support.files.atomic_file`.

        Raises
        ------
        TypeError
            If there are storage options, which only remote paths have.
        ValueError
            If the checkpoint holds what could not be read again.
        OSError
            If it cannot be written, such as on a full disk.
        """
        if storage_options is not None:
            raise TypeError(f"storage_options is {storage_options!r}; local paths have none")
        if not _is_local(path):
            return super().save_checkpoint(checkpoint, path)
        with atomic_file(path) as file:
            save_sealed(checkpoint, file, f"checkpoint {str(path)!r}")

    def load_checkpoint(
        self, path: str | Path, map_location: Any = "cpu", weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint of Lightning; from a local path with all checks.

        Raises
        ------
        FileNotFoundError, ValueError
            As :func:`read_checkpoint`, naming the file.
        """
        if not _is_local(path):
            return super().load_checkpoint(path, map_location, weights_only)
        checkpoint = _read(Path(path), map_location, weights_only is not False)
        if missing := [key for key in LIGHTNING if key not in checkpoint]:
            raise ValueError(
                f"checkpoint {str(path)!r} was not written by Lightning: it lacks {missing[0]!r}"
            )
        return checkpoint


def guard(strategy: Any) -> None:
    """Let a trainer's strategy read and write checkpoints as :class:`AtomicCheckpointIO` does.

    Where the user has chosen another way than Lightning's default, it stays.
    """
    if type(strategy.checkpoint_io) is TorchCheckpointIO:
        strategy.checkpoint_io = AtomicCheckpointIO()


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a Lightning checkpoint that a strategy of ``nni_magic`` wrote; tensors on the CPU.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is cut off or damaged, or something else.
    """
    path = Path(path)
    checkpoint = _read(path, "cpu", True)
    if not isinstance(checkpoint.get(CHECKPOINT_KEY), dict):
        raise ValueError(
            f"checkpoint {str(path)!r} holds no state of nni_magic: it was not written by one of "
            "its strategies"
        )
    return checkpoint


def require_file(path: Path) -> None:
    """Raise a ``FileNotFoundError`` unless a checkpoint is there."""
    if not path.is_file():
        raise FileNotFoundError(
            f"checkpoint is {str(path)!r}, which is not a file; accepted is the file of a supernet"
        )


def _is_local(path: str | Path) -> bool:
    return "://" not in str(path)


def _read(path: Path, map_location: Any, weights_only: bool) -> dict[str, Any]:
    name = f"checkpoint {str(path)!r}"
    require_file(path)
    with path.open("rb") as file:
        check_seal(file, name)
        checkpoint = load_plain(file, name, map_location, weights_only)
    if not isinstance(checkpoint, dict):
        raise ValueError(f"{name} holds a {type(checkpoint).__name__}; accepted are dicts")
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
    if not isinstance(state, Mapping):
        raise ValueError(f"the checkpoint's state of nni_magic is {state!r}; accepted are dicts")
    if (found := state.get("format")) != FORMAT:
        writer = "0.3 or before" if found is None else f"{state.get('version')} in format {found}"
        raise ValueError(
            f"the checkpoint was written by nni-magic {writer}, and {__version__} with format "
            f"{FORMAT} cannot continue its training, only search and export it; go on with that "
            "version"
        )
    if missing := [key for key in STATE if key not in state]:
        raise ValueError(f"the checkpoint's state of nni_magic lacks {missing[0]!r}")
    if state["method"] != method:
        raise ValueError(
            f"the checkpoint was written by {state['method']}, and {method} cannot continue it"
        )


def check_training(checkpoint: Mapping[str, Any], loop: Mapping[str, Any]) -> None:
    """Make sure that a checkpoint has what Lightning needs to continue a training.

    Parameters
    ----------
    checkpoint
        The whole Lightning checkpoint.
    loop
        The state of the trainer's own ``fit_loop``, which has the same keys.

    Raises
    ------
    ValueError
        Naming what is missing or of another type.
    """
    for key, kind in TRAINING.items():
        if key not in checkpoint:
            raise ValueError(
                f"the checkpoint lacks {key!r}, so that its training cannot be continued; accepted "
                "are checkpoints that were not saved with weights only"
            )
        if not isinstance(checkpoint[key], kind):
            raise ValueError(
                f"the checkpoint's {key!r} is {checkpoint[key]!r}; accepted are {kind.__name__}s"
            )
    theirs = checkpoint["loops"].get("fit_loop", {})
    if missing := [key for key in loop if key not in theirs]:
        raise ValueError(f"the checkpoint's state of the fit loop lacks {missing[0]!r}")


def check_space(checkpoint: Mapping[str, Any], space: ModelSpace) -> None:
    """Make sure that a checkpoint is of a space, by its labels and their choices.

    Choices that progressive shrinking has deleted are missing in the checkpoint.

    Raises
    ------
    ValueError
        Naming what differs.
    """
    try:
        theirs = checkpoint[CHECKPOINT_KEY]["sampler"]["candidates"]
    except (KeyError, TypeError) as error:
        raise ValueError(f"the checkpoint's state of nni_magic lacks {error}") from error
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
    own = checkpoint[CHECKPOINT_KEY].get("architecture", {})
    architecture, k = own.get("names", ()), own.get("partial_channels")
    if k is not None and not is_partial(space):
        partial_channels(space, k)
    weights = {
        name.removeprefix(WEIGHTS): value
        for name, value in checkpoint["state_dict"].items()
        if name.startswith(WEIGHTS) and name.removeprefix(WEIGHTS) not in architecture
    }
    space = with_parts_of(to_supernet(space), weights)
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
