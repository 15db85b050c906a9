"""Image-classification evaluator for NNI: the training recipe of a mobile network.

What NNI's ``Classification`` lacks: label smoothing, SGD with momentum whose learning rate warms
up and falls along a cosine at every optimizer step, no weight decay on biases and norms, and
weights in channels-last order. Mixed precision is the trainer's ``precision``.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import nni
import nni_bootstrap  # noqa: F401
import torch
from nni.nas.evaluator.pytorch import Lightning
from torch import Tensor, nn
from torch.nn import functional as F

from ...support.errors import check_count, check_flag, check_number
from ..evaluators import (
    ReportingModule,
    check_ids,
    check_steps,
    every_step,
    parameter_groups,
    search_evaluator,
    training_evaluator,
)
from .images import ImageData, as_it_is

__all__ = ["ImageClassification", "image_evaluator", "image_search_evaluator", "warmup_then_cosine"]


def warmup_then_cosine(step: int, warmup_steps: int, total_steps: int) -> float:
    """Learning rate of optimizer step ``step`` (from 0), as a share of the peak.

    Rises linearly to 1 at step ``warmup_steps - 1``, then falls along half a cosine to 0 at
    ``total_steps``, which is the first step not taken.

    >>> [round(warmup_then_cosine(step, 2, 6), 2) for step in range(7)]
    [0.5, 1.0, 1.0, 0.85, 0.5, 0.15, 0.0]
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    done = min(1.0, (step - warmup_steps) / max(1, total_steps - warmup_steps))
    return (1 + math.cos(math.pi * done)) / 2


@nni.trace
class ImageClassification(ReportingModule):
    """Train with label smoothing, validate without.

    Batches are ``(images, labels)``. Logs ``train_loss``, ``val_loss`` (mean cross entropy, in
    nats) and ``val_acc`` (share of images classified right), as NNI's own evaluator names them.

    Parameters
    ----------
    n_classes
        Number of classes.
    total_steps
        Optimizer steps after which the learning rate is 0.
    warmup_steps
        Optimizer steps until the peak, at most ``total_steps``.
    learning_rate
        The peak.
    momentum
        Nesterov's, in (0, 1).
    weight_decay
        Not applied to biases and norms, which are the parameters of less than two dimensions.
    label_smoothing
        Share of the target, in [0, 1), that is spread over all classes.
    channels_last
        Keep weights in channels-last order, which is faster for mixed precision on a GPU.

    Raises
    ------
    ValueError
        If a setting is out of its range.
    """

    def __init__(
        self,
        *,
        n_classes: int,
        total_steps: int,
        warmup_steps: int = 0,
        learning_rate: float = 0.05,
        momentum: float = 0.9,
        weight_decay: float = 4e-5,
        label_smoothing: float = 0.1,
        channels_last: bool = False,
    ) -> None:
        """See the class."""
        super().__init__()
        check_steps(total_steps, warmup_steps)
        check_count("n_classes", n_classes)
        check_number("learning_rate", learning_rate, above=0)
        check_number("momentum", momentum, above=0, below=1)
        check_number("weight_decay", weight_decay, at_least=0)
        check_number("label_smoothing", label_smoothing, at_least=0, below=1)
        check_flag("channels_last", channels_last)
        self.n_classes = n_classes
        self.optimizer_settings: dict[str, Any] = {
            "lr": learning_rate, "momentum": momentum, "nesterov": True,
        }  # fmt: skip
        self.weight_decay = weight_decay
        self.label_smoothing = label_smoothing
        self.channels_last = channels_last
        self.schedule = partial(
            warmup_then_cosine, warmup_steps=warmup_steps, total_steps=total_steps
        )

    def set_model(self, model: nn.Module) -> None:
        """Take the model; a convolution whose weights are channels-last makes its images so."""
        if self.channels_last:
            model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        super().set_model(model)

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Check the labels where they are read without waiting for a GPU."""
        check_ids("labels", batch[1], self.n_classes)
        return batch

    def forward(self, images: Tensor) -> Tensor:
        """Call the model."""
        return self.model(images)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Return the smoothed loss of ``(images, labels)``."""
        logits, labels = self._predict(batch)
        loss = F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)
        self.log("train_loss", loss, prog_bar=True, batch_size=len(labels))
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Return the loss of ``(images, labels)``."""
        logits, labels = self._predict(batch)
        loss = F.cross_entropy(logits, labels)
        hits = (logits.argmax(-1) == labels).float().mean()
        options: dict[str, Any] = {"prog_bar": True, "batch_size": len(labels), "sync_dist": True}
        self.log("val_loss", loss, **options)
        self.log("val_acc", hits, **options)
        return loss

    def configure_optimizers(self) -> dict[str, Any]:
        """SGD, and a learning rate that changes with every optimizer step."""
        groups = parameter_groups(self.parameters(), self.weight_decay)
        return every_step(torch.optim.SGD(groups, **self.optimizer_settings), self.schedule)

    def result(self) -> float:
        """The validation accuracy."""
        return self.trainer.callback_metrics["val_acc"].item()

    def _predict(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        images, labels = batch
        logits = self.model(images).float()
        if logits.shape[-1] != self.n_classes:
            raise ValueError(
                f"the model has {logits.shape[-1]} classes, but the data have {self.n_classes}"
            )
        return logits, labels


def image_evaluator(
    data: ImageData,
    *,
    total_steps: int,
    batch_size: int = 128,
    seed: int = 0,
    num_workers: int = 0,
    trainer_kwargs: dict[str, Any] | None = None,
    **settings: Any,
) -> Lightning:
    """Make an evaluator that trains, for one-shot strategies and for children from scratch.

    Parameters
    ----------
    data
        From :func:`nni_magic.tasks.vision.images.prepare`.
    total_steps, batch_size, num_workers, trainer_kwargs
        See :func:`nni_magic.tasks.evaluators.training_evaluator`.
    seed
        Order of the training images. (Augmentation and weights follow torch's global seed.)
    **settings
        For :class:`ImageClassification`.
    """
    return training_evaluator(
        ImageClassification(n_classes=len(data.classes), total_steps=total_steps, **settings),
        data.train,
        data.validation,
        total_steps=total_steps,
        batch_size=batch_size,
        seed=seed,
        num_workers=num_workers,
        trainer_kwargs=trainer_kwargs,
        collate_fn=as_it_is,
    )


def image_search_evaluator(
    data: ImageData,
    *,
    batch_size: int = 128,
    num_workers: int = 0,
    trainer_kwargs: dict[str, Any] | None = None,
    **settings: Any,
) -> Lightning:
    """Make an evaluator for a search on inherited weights; it scores on held-out images.

    Its training images are for BatchNorm, whose statistics are taken anew for every child. The
    parameters are those of :func:`image_evaluator`.
    """
    return search_evaluator(
        ImageClassification(**{"n_classes": len(data.classes), "total_steps": 1, **settings}),
        data.validation,
        train=data.train,
        batch_size=batch_size,
        num_workers=num_workers,
        trainer_kwargs=trainer_kwargs,
        collate_fn=as_it_is,
    )
