"""Trainings by ``transformers``' ``Trainer`` that go on where they were killed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nni_bootstrap  # noqa: F401
from torch import distributed
from transformers import Trainer, TrainerCallback

from ....support.files import read_json, write_json
from ....support.made_with import read_result

__all__ = ["check_settings", "last_complete", "train"]

COMPLETE = "complete.json"
"""Written into a checkpoint when all else is there: a killed run may leave a part of one."""


class _MarkComplete(TrainerCallback):
    def on_save(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        if distributed.is_initialized():  # every rank writes its random generators' state
            distributed.barrier()
        if state.is_world_process_zero:
            folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            write_json(folder / COMPLETE, {"step": state.global_step})


def check_settings(folder: Path, made_with: Mapping[str, Any]) -> None:
    """Keep the settings of a training beside its checkpoints, and refuse those of another.

    Parameters
    ----------
    folder
        Of the checkpoints.
    made_with
        What the result depends on, in types that JSON knows.

    Raises
    ------
    ValueError
        If a training of other settings has begun there.
    """
    path = folder / "made_with.json"
    if read_result(path, made_with) is None:
        write_json(path, {"made_with": dict(made_with)})


def last_complete(folder: Path) -> Path | None:
    """Find the last checkpoint that was written to its end."""
    steps = {}
    for path in folder.glob(f"checkpoint-*/{COMPLETE}"):
        steps[read_json(path)["step"]] = path.parent
    return steps[max(steps)] if steps else None


def train(trainer: Trainer) -> dict[str, float]:
    """Train, from the last checkpoint on if there is one.

    Returns
    -------
    dict
        Metrics of this start, such as ``train_samples_per_second``.
    """
    trainer.add_callback(_MarkComplete)
    last = last_complete(Path(trainer.args.output_dir))
    found: dict[str, float] = trainer.train(
        resume_from_checkpoint=None if last is None else str(last)
    ).metrics
    return found
