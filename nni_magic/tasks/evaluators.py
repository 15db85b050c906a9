"""What the evaluators of text and of images share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import nni
import nni_bootstrap  # noqa: F401
from nni.nas.evaluator.pytorch import DataLoader, Lightning, LightningModule, Trainer
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import Dataset

from ..support.epoch_sampler import EpochSampler
from ..support.errors import check_count
from .settings import MOST_AT_ONCE

__all__ = [
    "ReportingModule",
    "check_ids",
    "check_steps",
    "every_step",
    "parameter_groups",
    "search_evaluator",
    "training_evaluator",
]


class ReportingModule(LightningModule):
    """A module that reports to NNI when a trial does nothing but validate.

    A test logs what a validation does, and reports nothing.
    """

    def result(self) -> float:
        """The trial's result, the larger the better, after a validation."""
        raise NotImplementedError

    def test_step(self, *args: Any) -> Any:
        """Run the validation step."""
        return self.validation_step(*args)

    def on_validation_end(self) -> None:
        """Report the result when this was a trial that only validates."""
        trainer = self.trainer
        # A one-shot strategy passes this hook on from its own validation: not a trial's result.
        alone = trainer.state.fn == TrainerFn.VALIDATING and trainer.lightning_module is self
        if alone and trainer.is_global_zero and nni.get_current_parameter() is not None:
            nni.report_final_result(self.result())


def check_steps(total_steps: int, warmup_steps: int) -> None:
    """Make sure that a schedule has steps, and that its warm-up is not longer than it.

    Raises
    ------
    ValueError
        If it has none, or its warm-up is longer.
    """
    check_count("total_steps", total_steps)
    check_count("warmup_steps", warmup_steps, at_least=0)
    if warmup_steps > total_steps:
        raise ValueError(
            f"warmup_steps is {warmup_steps}; accepted are 0 to total_steps, which is {total_steps}"
        )


def check_ids(name: str, ids: Tensor, n: int) -> None:
    """Make sure that labels or ids are from 0 to ``n - 1``.

    Torch's losses pass over -100 in silence, and a GPU ends the process on others.

    Raises
    ------
    ValueError
        Naming the first that is not.

    Examples
    --------
    >>> import torch
    >>> check_ids("labels", torch.tensor([0, 9, -100]), 10)
    Traceback (most recent call last):
    ValueError: labels hold -100; accepted are 0 to 9
    """
    outside = (ids < 0) | (ids >= n)
    if outside.any():
        raise ValueError(f"{name} hold {ids[outside][0].item()}; accepted are 0 to {n - 1}")


def parameter_groups(
    parameters: Iterable[nn.Parameter], weight_decay: float
) -> list[dict[str, Any]]:
    """Group trainable parameters by whether weight decay is applied to them.

    It is not applied to those of less than two dimensions: biases and the weights of norms.

    Parameters
    ----------
    parameters
        All of a module; those that are not trained are left out.
    weight_decay
        For those of two dimensions or more.
    """
    trained = [p for p in parameters if p.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def every_step(optimizer: Optimizer, schedule: Callable[[int], float]) -> dict[str, Any]:
    """An optimizer for Lightning whose learning rate changes with every optimizer step."""
    scheduler = LambdaLR(optimizer, schedule)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def training_evaluator(
    module: LightningModule,
    train: Dataset,
    validation: Dataset,
    *,
    total_steps: int,
    batch_size: int,
    seed: int = 0,
    num_workers: int = 0,
    trainer_kwargs: dict[str, Any] | None = None,
    collate_fn: Any = None,
) -> Lightning:
    """Make an evaluator that trains, for one-shot strategies and for children from scratch.

    Parameters
    ----------
    module
        The Lightning module.
    train, validation
        The data.
    total_steps
        Optimizer steps of the run, unless ``trainer_kwargs`` says otherwise.
    batch_size
        Rows in a batch, for training and validation.
    seed
        Order of the training rows.
    num_workers
        Loader processes.
    trainer_kwargs
        For Lightning's Trainer.
    collate_fn
        Of the loaders.

    Raises
    ------
    ValueError
        If ``batch_size`` is larger than the training set, which would give no batch at all.
    """
    check_count("total_steps", total_steps)
    check_count("num_workers", num_workers, at_least=0, at_most=MOST_AT_ONCE)
    loaders = {"batch_size": batch_size, "num_workers": num_workers, "collate_fn": collate_fn}
    shuffled = _training_loader(train, seed, **loaders)
    return Lightning(
        module,
        Trainer(**{"max_steps": total_steps, **(trainer_kwargs or {})}),
        train_dataloaders=shuffled,
        val_dataloaders=DataLoader(validation, **loaders),
    )


def search_evaluator(
    module: LightningModule,
    validation: Dataset,
    *,
    batch_size: int,
    train: Dataset | None = None,
    num_workers: int = 0,
    trainer_kwargs: dict[str, Any] | None = None,
    collate_fn: Any = None,
) -> Lightning:
    """Make an evaluator for a search on inherited weights.

    Its trainer is quiet and writes nothing unless ``trainer_kwargs`` says otherwise. The other
    parameters are those of :func:`training_evaluator`; ``train`` is for BatchNorm, whose
    statistics are taken anew on it for every child.
    """
    check_count("batch_size", batch_size)
    check_count("num_workers", num_workers, at_least=0, at_most=MOST_AT_ONCE)
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    loaders = {"batch_size": batch_size, "num_workers": num_workers, "collate_fn": collate_fn}
    return Lightning(
        module,
        Trainer(**{**quiet, **(trainer_kwargs or {})}),
        train_dataloaders=None if train is None else _training_loader(train, 0, **loaders),
        val_dataloaders=DataLoader(validation, **loaders),
    )


def _training_loader(train: Any, seed: int, *, batch_size: int, **options: Any) -> DataLoader:
    """Make a loader that shuffles by seed and epoch; see :func:`training_evaluator`."""
    check_count("batch_size", batch_size)
    if batch_size > len(train):
        raise ValueError(
            f"batch_size is {batch_size}; accepted are 1 to the number of training rows, "
            f"{len(train)}"
        )
    sampler = EpochSampler(len(train), seed)
    return DataLoader(train, batch_size=batch_size, sampler=sampler, drop_last=True, **options)
