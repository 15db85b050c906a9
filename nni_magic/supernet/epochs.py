"""How long a Lightning trainer goes on."""

from __future__ import annotations

import math
from typing import Any

__all__ = ["epochs_in_all", "epochs_left", "log_is_due", "progress_of"]


def epochs_left(trainer: Any) -> float:
    """Count the epochs that a trainer, at the start of training, will still run, as below."""
    return epochs_in_all(trainer) - trainer.current_epoch


def epochs_in_all(trainer: Any) -> float:
    """Count the epochs of a training, also those that are over.

    Returns
    -------
    float
        An epoch that will be cut short counts in full; infinite if neither a number of epochs nor
        one of steps ends the training.
    """
    epochs, steps = math.inf, math.inf
    if trainer.max_epochs not in (None, -1):
        epochs = trainer.max_epochs
    if trainer.max_steps not in (None, -1) and math.isfinite(trainer.num_training_batches):
        an_epoch = math.ceil(trainer.num_training_batches / trainer.accumulate_grad_batches)
        steps = math.ceil(trainer.max_steps / an_epoch)
    return min(epochs, steps)


def progress_of(trainer: Any) -> float:
    """Share of a training's optimizer steps that are made, from 0 to 1.

    Raises
    ------
    ValueError
        If neither a number of epochs nor one of steps ends the training.
    """
    total = trainer.estimated_stepping_batches
    if not math.isfinite(total) or total < 1:
        raise ValueError(
            f"max_epochs of the trainer is {trainer.max_epochs}, and max_steps "
            f"{trainer.max_steps}; accepted is an end, by which parts of the training are told"
        )
    return min(trainer.global_step / total, 1.0)


def log_is_due(trainer: Any) -> bool:
    """Whether what this step logs is read: by the logger, or at the end of the epoch."""
    # A logged value costs Lightning time whether it is written or not.
    every = trainer.log_every_n_steps
    written = every > 0 and (trainer.global_step + 1) % every == 0
    return bool(written or trainer.is_last_batch)
