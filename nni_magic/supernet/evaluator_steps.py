"""Call the evaluator's own steps as Lightning would call them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from .step import copy_of

__all__ = ["call_step"]


def call_step(
    step: Callable[..., Any],
    batch: Any,
    batch_idx: int,
    dataloader_idx: int | None = None,
    *,
    own: bool = True,
) -> Any:
    """Call a training or validation step, with what its signature takes.

    Parameters
    ----------
    step
        ``training_step`` or ``validation_step`` of the evaluator's module.
    batch
        The batch, on the device.
    batch_idx
        Not given to a step that takes the batch alone.
    dataloader_idx
        Place of the loader, where there are several that are read one after another.
    own
        Whether the step is given a copy of the batch, because it may write into what it is given
        and the batch is used again.

    Returns
    -------
    object
        What the step returns.
    """
    arguments = [copy_of(batch) if own else batch]
    if _takes_batch_idx(step):
        arguments.append(batch_idx)
    if dataloader_idx is not None:
        arguments.append(dataloader_idx)
    return step(*arguments)


def _takes_batch_idx(step: Callable[..., Any]) -> bool:
    """Whether a step has a second argument, of whatever name, as Lightning asks."""
    parameters = inspect.getfullargspec(getattr(step, "__wrapped__", step))
    names = parameters.args[1:]  # without self
    return "batch_idx" in names or parameters.varargs is not None or len(names) >= 2
