"""Look at children on a batch before one of them is trained on it, or on validation data."""

from __future__ import annotations

import math
from typing import Any

import nni_bootstrap  # noqa: F401
import torch
from nni.mutable import Sample
from nni.nas.oneshot.pytorch.supermodule.base import BaseSuperNetModule
from torch import Tensor

from ..losses.term import TrainingSupernet
from ..samplers.similarity import intrinsic_dimension
from ..scoring.evaluator_state import unnoticed
from ..supernet.epochs import progress_of
from ..supernet.evaluator_steps import call_step, loss_of
from ..supernet.hidden_states import as_anchor, hooked
from ..supernet.resume import isolated_randomness

__all__ = ["BatchProbe"]


class BatchProbe:
    """Runs the evaluator's training step for children, without a trace.

    Dropout is off, and BatchNorm uses the batch's statistics. The supernet's path is then that of
    the last child asked for. See :class:`nni_magic.samplers.probe.Probe`.

    Parameters
    ----------
    module
        What trains the supernet.
    inputs
        Arguments of the evaluator's training step.
    """

    def __init__(self, module: TrainingSupernet, inputs: tuple[Any, ...]) -> None:
        self._module = module
        self._inputs = inputs

    @property
    def epoch(self) -> int:
        """Epochs that are over."""
        epoch: int = self._module.trainer.current_epoch
        return epoch

    @property
    def progress(self) -> float:
        """Share of the optimizer steps that are made.

        Raises
        ------
        ValueError
            If nothing says how many there will be.
        """
        return progress_of(self._module.trainer)

    def __call__(self, child: Sample) -> float:
        """Loss of a child, or not-a-number if the evaluator skips the batch."""
        with torch.no_grad():
            loss = self._loss(child)
        return math.nan if loss is None else self._mean(loss)

    def reward(self, child: Sample) -> float:
        """Score of a child on validation data, which the leaderboard remembers; negative losses."""
        score = self._module.leaderboard.score(child)
        return -score if self._module.scorer.mode == "min" else score

    def saliency(self, child: Sample) -> float:
        r"""Connection sensitivity, :math:`\sum |w \, \partial L / \partial w|` [Lee2019].

        [Lee2019] Lee et al., SNIP: Single-shot Network Pruning based on Connection Sensitivity.
        """
        loss, pairs = self._gradients(child)
        if loss is None:
            return math.nan
        sums = [(w.detach() * g).abs().sum() for w, g in pairs if g is not None]
        return self._mean(torch.stack(sums).sum() if sums else torch.zeros_like(loss))

    def gradient(self, child: Sample) -> list[Tensor | None]:
        """Gradient of the loss for every weight; ``None`` for those that the child has not."""
        reduce = self._module.trainer.strategy.reduce
        gradients = (gradient for _, gradient in self._gradients(child)[1])
        return [None if g is None else reduce(g, reduce_op="mean") for g in gradients]

    def dimensions(self, child: Sample) -> dict[str, float]:
        """Mean local intrinsic dimension of the batch behind every module that chooses."""
        modules = {
            name: module
            for name, module in self._module.model.named_modules()
            if isinstance(module, BaseSuperNetModule)
        }
        states: dict[str, Any] = {}
        with torch.no_grad(), hooked(modules, states, stop=False):
            self._loss(child)
        found = {
            name: torch.tensor(intrinsic_dimension(state), device=state.device)
            for name, state in states.items()
            if isinstance(state, Tensor) and state.is_floating_point()
        }
        return {name: self._mean(value) for name, value in found.items()}

    def _gradients(self, child: Sample) -> tuple[Tensor | None, list[tuple[Tensor, Tensor | None]]]:
        """The loss, and all weights with their gradients; none if the batch is skipped."""
        weights = [p for p in self._module.model.parameters() if p.requires_grad]
        with torch.enable_grad():
            loss = self._loss(child)
        if loss is None:
            return None, []
        gradients = torch.autograd.grad(loss, weights, allow_unused=True)
        return loss, list(zip(weights, gradients, strict=True))

    def _loss(self, child: Sample) -> Tensor | None:
        module = self._module
        evaluator, precision = module.training_module, module.trainer.precision_plugin
        module.router.set(child)
        with (
            isolated_randomness(), precision.train_step_context(), unnoticed(evaluator),
            as_anchor(list(module.model.modules())),
        ):  # fmt: skip
            loss: Tensor | None = loss_of(call_step(evaluator.training_step, *self._inputs))
            torch.clear_autocast_cache()  # casts made without gradient would be taken for its own
        return loss

    def _mean(self, value: Tensor) -> float:
        return float(self._module.trainer.strategy.reduce(value.detach(), reduce_op="mean"))
