"""What a mixture's training must not be, and what its steps must not do."""

from __future__ import annotations

import pytorch_lightning as pl

from ..finite import FiniteSteps

__all__ = ["MixtureSteps", "check_trainer"]


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
