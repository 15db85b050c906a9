"""Begin the training step of an evaluator that optimizes by hand, and optimize nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

__all__ = ["gradients_kept"]


@contextlib.contextmanager
def gradients_kept(module: Any) -> Iterator[None]:
    """Put gradients and ``requires_grad`` back, which such a step changes before its model's call.

    It begins by clearing gradients, or by freezing what another optimizer trains. Outside of a fit
    there are no optimizers yet, and the evaluator's are made. For other evaluators it does nothing.

    Parameters
    ----------
    module
        NNI's wrapper of the evaluator's module, attached to a trainer.
    """
    if module.training_module.automatic_optimization:
        yield
        return
    if not module.trainer.optimizers:
        module.trainer.strategy.setup_optimizers(module.trainer)
    held = [(weight, weight.grad, weight.requires_grad) for weight in module.parameters()]
    try:
        for weight, _, _ in held:
            weight.grad = None
        yield
    finally:
        for weight, gradient, trained in held:
            weight.requires_grad_(trained)
            weight.grad = gradient
