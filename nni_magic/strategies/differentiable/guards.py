"""What a mixture's training must not be, and what its steps must not do."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import nni_bootstrap  # noqa: F401
import pytorch_lightning as pl
import torch
from nni.nas.oneshot.pytorch.supermodule.operation import MixedConv2d
from pytorch_lightning.utilities import CombinedLoader
from pytorch_lightning.utilities.model_helpers import is_overridden
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ...supernet.evaluator_steps import call_step, loss_of
from ...supernet.resume import RandomState
from ...support.snapshot import Snapshot
from ..finite import FiniteSteps

__all__ = [
    "MixtureSteps", "check_kernels", "check_trainer", "validation_loader", "validation_loss",
    "without_a_trace",
]  # fmt: skip


class MixtureSteps(FiniteSteps):
    """Checks the steps of the weights, which are those of a mixture and of no child."""

    def _wrong_parts(self) -> list[str]:
        losses = [float(part.value) for part in self._parts]
        return [f"the loss of the mixture is {v}" for v in losses if not abs(v) < float("inf")]

    def _child(self) -> str:
        return "the mixture"


def check_trainer(trainer: pl.Trainer, *, bilevel: bool) -> None:
    """Make sure that gradients are those of all data, not scaled, and of batches as they should be.

    Raises
    ------
    ValueError
        If they are not.
    """
    hooks = ("on_before_batch_transfer", "transfer_batch_to_device", "on_after_batch_transfer")
    if bilevel and (data := getattr(trainer, "datamodule", None)) is not None:
        for hook in hooks:
            if is_overridden(hook, data, pl.LightningDataModule):
                raise ValueError(
                    f"{hook} is of {type(data).__name__}, which Lightning gives the training batch "
                    "and the validation batch at once; accepted are hooks of the evaluator's "
                    "module, or bilevel as False"
                )
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


def check_kernels(mixture: nn.Module) -> None:
    """Make sure that kernels are chosen by whole numbers, as NNI mixes no pairs of them."""
    for name, module in mixture.named_modules():
        chosen = module.mutable_arguments if isinstance(module, MixedConv2d) else {}
        sizes = list(chosen["kernel_size"].grid()) if "kernel_size" in chosen else []
        if any(isinstance(size, tuple) for size in sizes):
            raise ValueError(
                f"kernel_size of {name!r} is chosen of {sizes}; accepted in a mixture are whole "
                "numbers"
            )


def validation_loader(training: Any, validation: Any) -> Any:
    """The loader of validation data on which the architecture is trained.

    Parameters
    ----------
    training, validation
        The evaluator's loaders.

    Raises
    ------
    ValueError
        If they are read together in a way of their own, or there are several for validation and
        not as many for training.
    """
    for name, loaders in ("training", training), ("validation", validation):
        if isinstance(loaders, CombinedLoader):
            raise ValueError(
                f"the {name} data are a CombinedLoader; accepted are loaders as they are, one or "
                "in a list or dict, or bilevel as False"
            )
    if (names := _names(validation)) is None or names == _names(training):
        return validation
    if len(names) != 1:
        raise ValueError(
            f"the validation data are {len(validation)} loaders, in a "
            f"{type(validation).__name__}; accepted are one, as many as there are for training in "
            "a list or dict of the same names, or bilevel as False"
        )
    [loader] = validation.values() if isinstance(validation, dict) else validation
    return loader


def _names(loaders: Any) -> list[Any] | None:
    """By what a batch names its parts; nothing if there is one loader."""
    if isinstance(loaders, (list, tuple)):
        return list(range(len(loaders)))
    return sorted(loaders) if isinstance(loaders, dict) else None


@contextlib.contextmanager
def without_a_trace(evaluator: pl.LightningModule) -> Iterator[None]:
    """Put back what the block changes: in the evaluator and the supernet, and the generators.

    Parameters and buffers of any size; what of the rest is left alone says
    :class:`nni_magic.support.snapshot.Snapshot`.
    """
    tensors = [
        each for each in (*evaluator.parameters(), *evaluator.buffers())
        if not is_lazy(each) and not each.is_inference()
        and each.layout == torch.strided and 0 not in each.stride()
    ]  # fmt: skip
    copies = [each.detach().clone() for each in tensors]
    generators = RandomState.capture()
    with Snapshot(evaluator, leave=tensors):
        try:
            yield
        finally:
            for each, copy in zip(tensors, copies, strict=True):
                each.data.copy_(copy)  # leaves torch's count of changes, and so autograd, alone
            generators.restore()


def validation_loss(
    evaluator: pl.LightningModule, batch: Any, training_batch: Any, batch_idx: int
) -> Tensor | None:
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

    Returns
    -------
    Tensor or None
        Nothing if the step skips the batch.

    Raises
    ------
    ValueError
        If the step takes batches of the training data alone, or gives a loss without gradient.
    """
    step = evaluator.training_step
    try:
        loss = loss_of(call_step(step, batch, batch_idx))
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        call_step(step, training_batch, batch_idx)  # otherwise it is the evaluator's own error
        raise ValueError(
            f"training_step of {type(evaluator).__name__} fails on a batch of the validation "
            f"data, on which the architecture is trained: {error!r}; accepted are batches as "
            "those of the training data, or bilevel as False"
        ) from error
    if loss is not None and not (isinstance(loss, Tensor) and loss.requires_grad):
        raise ValueError(
            f"training_step of {type(evaluator).__name__} gives the loss {loss!r} on a batch of "
            "the validation data, on which the architecture is trained; accepted are a Tensor "
            "that has a gradient, None, or bilevel as False"
        )
    return loss
