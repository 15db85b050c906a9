"""Keep the weights finite: no optimizer steps by a loss or a gradient that is not.

One step by a gradient that is not a number makes all weights that it reaches not-a-number, and
those of every later step and checkpoint. Before the optimizer steps, losses and gradients are
checked, and the setting ``not_finite`` says what happens.

Under accumulation the check is of all batches of the step. Under DDP all processes decide alike.
The gradients of 16-mixed are left to its scaler, for which some that are infinite belong to the
normal course of things. An evaluator that optimizes by hand has its gradients checked whenever one
of its optimizers steps, and its losses are its own.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from nni.mutable import Sample
from torch import Tensor
from torch.optim import Optimizer

from ..children.samples import digest
from ..samplers.base import Sampler
from ..supernet.buffers import KeptBuffers
from ..supernet.evaluator_hooks import EvaluatorHooks
from ..supernet.step import Step
from ..support.finite import all_finite, check_weights

__all__ = ["FiniteSteps", "GuardedModule", "Part"]

_logger = logging.getLogger(__name__)


class Part(NamedTuple):
    """A part of the loss of a step.

    Parameters
    ----------
    child
        The child that it is of.
    name
        ``prediction_loss``, or the name of the term.
    value
        A scalar without gradient.
    """

    child: Sample
    name: str
    value: Tensor


class FiniteSteps:
    """Checks every step before the optimizer makes it.

    Parameters
    ----------
    module
        The Lightning module that trains the supernet.
    not_finite
        Whether a step that is not finite ends the training (``stop``) or is left out (``skip``).
    parts
        What the losses of the coming step are made of; emptied when the step is over.

    Attributes
    ----------
    skipped : int
        Steps that were left out.
    """

    def __init__(self, module: Any, not_finite: str, parts: list[Part]) -> None:
        self._module = module
        self._skips = not_finite == "skip"
        self._parts = parts
        self.reset()

    def reset(self) -> None:
        """Forget an earlier training."""
        self.skipped = 0
        self._buffers: KeptBuffers | None = None

    def load(self, skipped: int) -> None:
        """Go on with a training in which so many steps were left out."""
        self.reset()
        self.skipped = skipped

    def begin(self) -> None:
        """Called when a step begins, before its first batch."""
        self._parts.clear()
        if self._skips:
            if self._buffers is None:
                self._buffers = KeptBuffers(self._module)
            self._buffers.keep()

    def check(self, optimizer: Optimizer) -> None:
        """Make sure that the optimizer may step; if not, stop or leave the step out.

        Raises
        ------
        ValueError
            Naming step, child and part of the loss, or weight, if the training is to stop; or if it
            cannot go on, because weights are not finite already.
        """
        strategy = self._module.trainer.strategy
        finite = self._finite_losses() and (self._is_scaled or all_finite(_gradients(optimizer)))
        if not strategy.reduce_boolean_decision(finite):
            self._refuse(optimizer)
        self._parts.clear()

    @property
    def _is_scaled(self) -> bool:
        return getattr(self._module.trainer.precision_plugin, "scaler", None) is not None

    def _finite_losses(self) -> bool:
        if not self._parts or not self._module.automatic_optimization:
            return True
        return math.isfinite(sum(part.value for part in self._parts)) or not self._wrong_parts()

    def _wrong_parts(self) -> list[str]:
        return [
            f"{part.name} of child {digest(part.child)} {part.child} is {float(part.value)}"
            for part in self._parts
            if not math.isfinite(part.value)
        ]

    def _refuse(self, optimizer: Optimizer) -> None:
        check_weights(self._module)
        trainer = self._module.trainer
        where = f"optimizer step {trainer.global_step + 1}, in epoch {trainer.current_epoch}"
        what = self._found(optimizer)
        if not self._skips:
            raise ValueError(
                f"{where}, is not finite: {what}. The weights are those of the step before. "
                "not_finite is 'stop'; accepted is 'skip', too, which leaves such steps out"
            )
        _logger.warning("Left out %s, which is not finite: %s", where, what)
        self._leave_out(optimizer)

    def _found(self, optimizer: Optimizer) -> str:
        """What is not finite, in words."""
        if self._module.automatic_optimization and (wrong := self._wrong_parts()):
            return "; ".join(wrong)
        names = {id(weight): name for name, weight in self._module.named_parameters()}
        for weight in _weights(optimizer):
            if weight.grad is not None and not all_finite([weight.grad]):
                name = names.get(id(weight), "a weight of the optimizer")
                return f"the gradient of {name}, from {self._child()}"
        return "a loss in another process"

    def _child(self) -> str:
        child = self._module.child
        return f"child {digest(child)} {child}"

    def _leave_out(self, optimizer: Optimizer) -> None:
        """Let the optimizer find nothing to do, and forget what the step has left."""
        for weight in _weights(optimizer):
            weight.grad = None  # with zeros it would still move by momentum and weight decay
        assert self._buffers is not None
        self._buffers.restore()
        if (step := self._module.step) is not None:
            step.losses, step.calls, step.gradient_norm = [], [], None
        self.skipped += 1


class GuardedModule(EvaluatorHooks):
    """The evaluator's module, with the gradients of its steps measured and checked.

    They are checked after all that the evaluator does to them.

    Attributes
    ----------
    finite : FiniteSteps
        Checks them.
    sampler : Sampler
        Says whether it watches their norm.
    step : Step or None
        What was computed on the present batch.
    """

    finite: FiniteSteps
    sampler: Sampler
    step: Step | None

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        if self.step is not None and self.sampler.watches_gradients:
            norms = [p.grad.norm() for p in self.parameters() if p.grad is not None]
            self.step.gradient_norm = torch.stack(norms).norm() if norms else None
        super().on_before_optimizer_step(optimizer)
        if not self.automatic_optimization:  # nothing is clipped
            self.finite.check(optimizer)

    def configure_gradient_clipping(self, optimizer: Any, *args: Any, **kwargs: Any) -> None:
        super().configure_gradient_clipping(optimizer, *args, **kwargs)
        self.finite.check(optimizer)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        check_weights(self)
        super().on_save_checkpoint(checkpoint)


def _weights(optimizer: Optimizer) -> Iterator[Tensor]:
    for group in optimizer.param_groups:
        yield from group["params"]


def _gradients(optimizer: Optimizer) -> list[Tensor]:
    # A large space has thousands of weights, few of them with a gradient: each is asked once.
    return [found for weight in _weights(optimizer) if (found := weight.grad) is not None]
