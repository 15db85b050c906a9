"""The state of a training that Lightning does not keep, so that a resumed run goes on exactly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytorch_lightning.trainer.states import TrainerFn

from .. import __version__
from ..supernet.checkpoint import CHECKPOINT_KEY, FORMAT, check_resumable, check_training
from ..supernet.step import Turn
from ..support.errors import naming

__all__ = ["load_state", "resume", "state_of"]


def state_of(module: Any) -> dict[str, Any]:
    """The state of a training in plain types and tensors."""
    shrinking = module.shrinking
    return {
        "format": FORMAT,
        "version": __version__,
        "method": module.method,
        "seed": module.seed,
        "sampler": module.sampler.state_dict(),
        "turns": [turn.state_dict() for turn in module.turns],
        "child_step": module.child_step,
        "skipped_steps": module.finite.skipped,
        "panel": module.validation.panel,
        "metrics": module.validation.metrics,
        "leaderboard": [tuple(scored) for scored in module.leaderboard.known()],
        "replay": module.replay.state_dict(module.validation.generators),
        "shrinking": None if shrinking is None else shrinking.state_dict(),
        "terms": {term.name: term.state_dict() for term in module.terms},
    }


def resume(module: Any, checkpoint: Mapping[str, Any]) -> None:
    """Continue a training where a whole Lightning checkpoint was saved.

    Raises
    ------
    ValueError
        Naming the file, as :func:`check_resumable`, :func:`check_training` and
        :func:`load_state`.
    """
    with naming(f"ckpt_path {str(module.trainer.ckpt_path)!r}"):
        check_resumable(checkpoint, module.method)
        load_state(module, checkpoint[CHECKPOINT_KEY])
        if module.trainer.state.fn == TrainerFn.FITTING:
            check_training(checkpoint, module.trainer.fit_loop.state_dict())
    if module.trainer.precision == "64-true":
        module.double()  # Lightning does so only after loading, which would round the weights


def load_state(module: Any, state: Mapping[str, Any]) -> None:
    """Continue where :func:`state_of` was taken.

    Raises
    ------
    ValueError
        If the state is of another space, or malformed.
    """
    try:
        _load(module, state)
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(f"the checkpoint's state of nni_magic is malformed: {error!r}") from error


def _load(module: Any, state: Mapping[str, Any]) -> None:
    module.sampler.load_state_dict(state["sampler"])
    module.seed = state["seed"]
    module.validation.reset(state["panel"], state.get("metrics"))
    module.turns = [Turn.of(turn) for turn in state["turns"]]
    module.child_step = state["child_step"]
    module.finite.load(state["skipped_steps"])
    module.leaderboard.load(state["leaderboard"])
    module.replay.load_state_dict(state["replay"])
    if module.shrinking is not None and state["shrinking"] is not None:
        module.shrinking.load_state_dict(state["shrinking"])
    _check_terms(list(state["terms"]), [term.name for term in module.terms])
    for term in module.terms:
        term.load_state_dict(state["terms"][term.name])


def _check_terms(theirs: list[str], ours: list[str]) -> None:
    if theirs != ours:
        raise ValueError(
            f"the checkpoint's training has the terms {theirs} in its loss, and this one {ours}; "
            "accepted are the same, such as those of a teacher"
        )
