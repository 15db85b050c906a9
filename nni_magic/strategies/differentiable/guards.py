"""What a mixture's training must not be, and what its steps must not do."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytorch_lightning as pl
import torch

from ...supernet.evaluator_steps import call_step, loss_of
from ...supernet.resume import RandomState
from ...support.snapshot import Snapshot
from ..finite import FiniteSteps

__all__ = ["MixtureSteps", "check_trainer", "validation_loss", "without_a_trace"]


class MixtureSteps(FiniteSteps):
    """Checks the steps of the weights, which are those of a mixture and of no child."""

    def _wrong_parts(self) -> list[str]:
        losses = [float(part.value) for part in self._parts]
        return [f"the loss of the mixture is {v}" for v in losses if not abs(v) < float("inf")]

    def _child(self) -> str:
        return "the mixture"


def check_trainer(trainer: pl.Trainer) -> None:
    """Make sure that gradients are those of all data, and not scaled."""
    if trainer.world_size > 1:
        raise ValueError(
            f"devices of the trainer is {trainer.world_size} in all; accepted is 1, as "
            "architecture parameters are trained in one process"
        )
    if getattr(trainer.precision_plugin, "scaler", None) is not None:
        raise ValueError(
            f"precision is {trainer.precision!r}; accepted are those without a scaler of "
            "gradients, such as 'bf16-mixed' and '32-true'"
        )


@contextlib.contextmanager
def without_a_trace(evaluator: pl.LightningModule) -> Iterator[None]:
    """Put back what the block changes: in the evaluator and the supernet, and the generators."""
    before, generators = Snapshot(evaluator), RandomState.capture()
    yield
    before.restore()
    generators.restore()


def validation_loss(
    evaluator: pl.LightningModule, batch: Any, training_batch: Any, batch_idx: int
) -> Any:
    """Loss of the evaluator's training step on a batch of the validation data.

    Parameters
    ----------
    evaluator
        The evaluator's module.
    batch
        Of the validation data.
    training_batch
        Of the training data, to tell whether an error comes from the batch.
    batch_idx
        Place of the batch.

    Raises
    ------
    ValueError
        If the step takes batches of the training data alone.
    """
    step = evaluator.training_step
    try:
        return loss_of(call_step(step, batch, batch_idx))
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        call_step(step, training_batch, batch_idx)  # otherwise it is the evaluator's own error
        raise ValueError(
            f"training_step of {type(evaluator).__name__} fails on a batch of the validation "
            f"data, on which the architecture is trained: {error!r}; accepted are batches as "
            "those of the training data, or bilevel as False"
        ) from error
