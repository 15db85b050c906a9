"""A loss term for a teacher that was trained before, and what it needs to know of the models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor, nn

from ..supernet.hidden_states import Call
from ..supernet.step import Step, Turn
from .imitation import Reading
from .term import LossTerm, TrainingSupernet

__all__ = ["Readings", "TeacherTerm"]


class Readings(Protocol):
    """Knows child and teacher, and reads the same batch with both."""

    def layers(self, model: nn.Module) -> Mapping[str, nn.Module]:
        """Modules of the supernet, by name, whose outputs are needed."""

    def __call__(self, call: Call) -> tuple[Reading, Reading, Tensor]:
        """What a child made of a call, what the teacher makes of it, and which places are real."""

    def forget(self) -> None:
        """Called after every batch, to free memory."""


class TeacherTerm(LossTerm):
    """Every child of a step imitates a teacher on the batch that it is trained on.

    Parameters
    ----------
    name
        What is imitated: the term is ``teacher_<name>_loss``.
    imitation
        One of :mod:`nni_magic.losses.imitation`, with its weights.
    readings
        Reads batches; terms may share one.
    weight
        Factor of the term.
    """

    def __init__(
        self, name: str, imitation: nn.Module, readings: Readings, weight: float = 1.0
    ) -> None:
        self.name = f"teacher_{name}_loss"
        self.weights = imitation
        self.weight = weight
        self._imitation = imitation
        self._readings = readings
        self._layers: Mapping[str, nn.Module] = {}

    def begin(self, module: TrainingSupernet) -> None:
        self._layers = self._readings.layers(module.model)

    @property
    def layers(self) -> Mapping[str, nn.Module]:
        return self._layers

    def __call__(self, step: Step, turn: Turn) -> Tensor:
        """The term of a turn, averaged over the model's calls: a scalar.

        Raises
        ------
        ValueError
            If the training step does not call the model.
        """
        if not (calls := step.calls[-1]):
            raise ValueError(
                "the training step calls the model 0 times for a child; accepted is at least one "
                "call, on which it imitates its teacher"
            )
        return torch.stack([self._imitation(*self._readings(call)) for call in calls]).mean()

    def tell(self, step: Step) -> None:
        self._readings.forget()
