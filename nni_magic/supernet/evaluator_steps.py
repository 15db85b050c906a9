"""Call the evaluator's own steps as Lightning would call them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, cast

import pytorch_lightning as pl
from pytorch_lightning.utilities.signature_utils import is_param_in_hook_signature
from torch import nn

from .batches import copy_of
from .connection import hooks_called_by
from .hidden_states import Call, ModelNotCalled, capture_call

__all__ = ["call_step", "loss_of", "training_call", "validate_batch"]


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
        Place of the batch; not given to a step that takes the batch alone.
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
    if _takes_batch_idx(getattr(step, "__func__", step)):
        arguments.append(batch_idx)
    if dataloader_idx is not None:
        arguments.append(dataloader_idx)
    with hooks_called_by(getattr(step, "__self__", None)):  # none if a user put a function there
        return step(*arguments)


@lru_cache(maxsize=64)
def _takes_batch_idx(step: Callable[..., Any]) -> bool:
    """Ask as Lightning does, and once: it takes as long as to clone a batch."""
    return is_param_in_hook_signature(step, "batch_idx", min_args=2)


def validate_batch(
    evaluator: pl.LightningModule,
    batch: Any,
    batch_idx: int,
    dataloader_idx: int | None = None,
    *,
    own: bool = True,
) -> Any:
    """Run the evaluator's validation step between its hooks of the batch, as Lightning does.

    Parameters
    ----------
    evaluator
        The evaluator's module.
    batch, batch_idx, dataloader_idx, own
        As for :func:`call_step`. The hooks are given the step's batch, with what it has changed.

    Returns
    -------
    object
        What the step returns, and the hook behind it was given.
    """
    batch = copy_of(batch) if own else batch
    place = (batch_idx,) if dataloader_idx is None else (batch_idx, dataloader_idx)
    evaluator.on_validation_batch_start(batch, *place)
    output = call_step(evaluator.validation_step, batch, batch_idx, dataloader_idx, own=False)
    evaluator.on_validation_batch_end(output, batch, *place)
    return output


def training_call(evaluator: pl.LightningModule, batch: Any, batch_idx: int) -> Call | None:
    """Run the evaluator's training step up to its first call of the model, for that call's inputs.

    Parameters
    ----------
    evaluator
        The evaluator's module.
    batch, batch_idx
        As for :func:`call_step`.

    Returns
    -------
    Call or None
        Nothing if the step skips the batch: it gives no loss, and does not call the model.

    Raises
    ------
    ModelNotCalled
        If the step gives a loss without a call of the model.
    """
    outputs: list[Any] = []

    def step() -> None:
        outputs.append(call_step(evaluator.training_step, batch, batch_idx))

    try:
        return capture_call(cast(nn.Module, evaluator.model), step)
    except ModelNotCalled:
        if loss_of(outputs[0]) is None:
            return None
        raise


def loss_of(output: Any) -> Any:
    """The loss in what a step returns; ``None`` if there is none."""
    return output.get("loss") if isinstance(output, Mapping) else output
