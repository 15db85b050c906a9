"""The state of a differentiable training that Lightning does not keep."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytorch_lightning.trainer.states import TrainerFn

from ... import __version__
from ...supernet.checkpoint import CHECKPOINT_KEY, FORMAT, check_resumable, check_training
from ...support.errors import naming

__all__ = ["resume", "save"]

OF_CHILDREN = {
    "turns": [], "child_step": -1, "panel": [], "leaderboard": [], "shrinking": None, "terms": {},
}  # fmt: skip
"""What only a training of children has."""


def save(module: Any, checkpoint: dict[str, Any]) -> None:
    """Put the state into a Lightning checkpoint, in the form that all strategies share."""
    checkpoint[CHECKPOINT_KEY] = {
        **OF_CHILDREN,
        "format": FORMAT,
        "version": __version__,
        "method": module.method,
        "seed": module.seed,
        "sampler": {"candidates": module.candidates},
        "skipped_steps": module.finite.skipped,
        "metrics": {
            name: value.detach().cpu() for name, value in module.trainer.callback_metrics.items()
        },
        "replay": module.replay.state_dict(module.generators),
        "architecture": {
            "names": module.architecture.names,
            "partial_channels": module.partial_channels,
            "kept": None if module.kept is None else module.kept.progress(),
            "step": module.architecture_step,
            "optimizer": module.arc_optimizer.state_dict(),
        },
    }


def resume(module: Any, checkpoint: Mapping[str, Any]) -> None:
    """Continue a training where a whole Lightning checkpoint was saved.

    Raises
    ------
    ValueError
        Naming the file, if it is of another method or version, or malformed.
    """
    with naming(f"ckpt_path {str(module.trainer.ckpt_path)!r}"):
        check_resumable(checkpoint, module.method)
        state = checkpoint[CHECKPOINT_KEY]
        try:
            _load(module, state)
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            raise ValueError(
                f"the checkpoint's state of nni_magic is malformed: {error!r}"
            ) from error
        if module.trainer.state.fn == TrainerFn.FITTING:
            check_training(checkpoint, module.trainer.fit_loop.state_dict())
    if module.trainer.precision == "64-true":
        module.double()  # Lightning does so only after loading, which would round the weights


def _load(module: Any, state: Mapping[str, Any]) -> None:
    own = state["architecture"]
    module.seed = state["seed"]
    module.finite.load(state["skipped_steps"])
    module.replay.load_state_dict(state["replay"])
    module.architecture_step = own["step"]
    module.logged_before = state["metrics"]
    if module.kept is not None:
        module.kept.resume(own["kept"])
    module.arc_optimizer.load_state_dict(own["optimizer"])
