"""Look at children on a batch before one of them is trained on it."""

from __future__ import annotations

import math
from typing import Any

import nni_bootstrap  # noqa: F401
import torch
from nni.mutable import Sample
from torch import Tensor

from ..losses.term import TrainingSupernet
from ..scoring.evaluator_state import unnoticed
from ..supernet.epochs import progress_of
from ..supernet.evaluator_steps import call_step, loss_of
from ..supernet.hidden_states import as_anchor
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

    def saliency(self, child: Sample) -> float:
        r"""Connection sensitivity, :math:`\sum |w \, \partial L / \partial w|` [Lee2019].

        [Lee2019] Lee et al., SNIP: Single-shot Network Pruning based on Connection Sensitivity.
        """
        weights = [p for p in self._module.model.parameters() if p.requires_grad]
        with torch.enable_grad():
            loss = self._loss(child)
        if loss is None:
            return math.nan
        gradients = torch.autograd.grad(loss, weights, allow_unused=True)
        pairs = zip(weights, gradients, strict=True)
        sums = [(w.detach() * g).abs().sum() for w, g in pairs if g is not None]
        return self._mean(torch.stack(sums).sum() if sums else torch.zeros_like(loss))

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
