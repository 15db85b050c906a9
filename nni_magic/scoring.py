"""Score child models on held-out batches with the weights of the supernet.

The score of a child is a metric that the evaluator's own ``validation_step`` logs, so that every
Lightning evaluator can be used. Two scores may be compared only if the weights and the batches
were the same.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from nni.mutable import Sample
from pytorch_lightning.utilities.data import extract_batch_size
from torch.utils._pytree import tree_flatten
from torchmetrics import Metric

from .resume import isolated_randomness

__all__ = ["Scorer", "better"]

Mode = Literal["min", "max"]


def better(a: float, b: float, mode: Mode) -> bool:
    """Tell whether score ``a`` is strictly better than ``b``; not-a-number is worse than any.

    Examples
    --------
    >>> better(0.1, 0.2, "min"), better(0.1, 0.1, "min"), better(float("nan"), 9.9, "min")
    (True, False, False)
    """
    if math.isnan(a) or math.isnan(b):
        return math.isnan(b) and not math.isnan(a)
    return a < b if mode == "min" else a > b


class Scorer:
    """Scores children on the first batches of the validation data.

    Parameters
    ----------
    module
        The Lightning module that trains the supernet, attached to a trainer; its
        ``training_module`` is the evaluator's module.
    route
        Sets the supernet's path to a sample.
    metric
        Name under which the evaluator logs the metric. By default its validation loss: what it
        logs as ``val_loss``, or else what its ``validation_step`` returns.
    mode
        Whether a smaller (``min``) or a larger (``max``) metric is better.
    n_batches
        How many validation batches make a score. Under DDP every rank takes as many of its own
        share, and all ranks get the same, common score.
    """

    def __init__(
        self,
        module: Any,
        route: Callable[[Sample], None],
        *,
        metric: str | None,
        mode: Mode,
        n_batches: int,
    ) -> None:
        self.module = module
        self.route = route
        self.metric = metric
        self.mode = mode
        self.n_batches = n_batches
        self._batches: list[Any] | None = None
        self._loader_argument: dict[str, int] = {}

    def __call__(self, sample: Sample) -> float:
        """Score one child; the supernet's path is then this child's.

        The supernet is in evaluation mode meanwhile. Its weights and buffers, the global random
        generators and the state of the evaluator's metrics stay as they were.

        Raises
        ------
        ValueError
            If the metric is not logged, or there are no validation batches.
        """
        evaluator: pl.LightningModule = self.module.training_module
        with isolated_randomness(), _evaluating(self.module), _own_metrics(evaluator) as logged:
            self.route(sample)
            for index, batch in enumerate(self._held_out()):
                self._validation_step(evaluator, batch, index, logged)
            return self._reduce(logged)

    def reset(self) -> None:
        """Forget the batches, so that the trainer's present validation data are read."""
        self._batches = None

    def _held_out(self) -> list[Any]:
        """Read the batches once and keep them, on the CPU, for the whole run.

        The generator is set for it, so that a shuffled loader gives a resumed run the same ones.
        """
        if self._batches is None:
            trainer = self.module.trainer
            if trainer.val_dataloaders is None and trainer.state.fn == "fit":
                trainer.fit_loop.epoch_loop.val_loop.setup_data()
            loaders = (
                [] if trainer.val_dataloaders is None else tree_flatten(trainer.val_dataloaders)[0]
            )
            self._loader_argument = {"dataloader_idx": 0} if len(loaders) > 1 else {}
            torch.manual_seed(0)
            self._batches = list(islice(loaders[0], self.n_batches)) if loaders else []
        if not self._batches:
            raise ValueError(
                "there are no validation batches to score children on: give the evaluator "
                "val_dataloaders that are not empty, and limit_val_batches other than 0"
            )
        return self._batches

    def _validation_step(
        self, evaluator: pl.LightningModule, batch: Any, index: int, logged: _Logged
    ) -> None:
        trainer = self.module.trainer
        batch = trainer.precision_plugin.convert_input(batch)
        batch = self.module._on_before_batch_transfer(batch, dataloader_idx=0)
        batch = trainer.strategy.batch_to_device(batch)
        logged.batch = batch
        with torch.no_grad(), trainer.precision_plugin.val_step_context():
            output = evaluator.validation_step(batch, index, **self._loader_argument)
        loss = output.get("loss") if isinstance(output, dict) else output
        if self.metric is None and "val_loss" not in logged.sums and loss is not None:
            logged(_RETURNED, loss)

    def _reduce(self, logged: _Logged) -> float:
        name = self.metric or ("val_loss" if "val_loss" in logged.sums else _RETURNED)
        if name in logged.metrics:
            return float(logged.metrics[name].compute())
        if name not in logged.sums:
            wanted = f"metric {self.metric!r}" if self.metric else "a validation loss"
            raise ValueError(
                f"{wanted} is not logged by the evaluator's validation_step; "
                f"it logs {sorted({*logged.sums, *logged.metrics})}: name one of these as metric"
            )
        trainer = self.module.trainer
        total = torch.tensor(logged.sums[name], dtype=torch.float64)
        if trainer.world_size > 1:
            total = trainer.strategy.reduce(total.to(self.module.device), reduce_op="sum")
        return float(total[0] / total[1])


_RETURNED = "the loss that validation_step returns"


class _Logged:
    """Stands in for ``self.log`` of the evaluator: weighted sums instead of a logger."""

    def __init__(self) -> None:
        self.sums: dict[str, tuple[float, float]] = {}
        self.metrics: dict[str, Metric] = {}
        self.batch: Any = None

    def __call__(self, name: str, value: Any, *args: Any, **options: Any) -> None:
        if isinstance(value, Metric):
            self.metrics[name] = value
            return
        weight = options.get("batch_size") or extract_batch_size(self.batch)
        total, weights = self.sums.get(name, (0.0, 0.0))
        self.sums[name] = total + float(value) * weight, weights + weight


@contextlib.contextmanager
def _own_metrics(evaluator: pl.LightningModule) -> Iterator[_Logged]:
    """Collect what the evaluator logs, and keep the state of its torchmetrics out of it."""
    log = evaluator.log
    metrics = [module for module in evaluator.modules() if isinstance(module, Metric)]
    states = [(metric, metric._copy_state_dict(), metric._update_count) for metric in metrics]
    for metric in metrics:
        metric.reset()
    logged = _Logged()
    evaluator.log = logged  # type: ignore[method-assign]
    try:
        yield logged
    finally:
        evaluator.log = log  # type: ignore[method-assign]
        for metric, state, count in states:
            metric.reset()
            for name, value in state.items():
                setattr(metric, name, value)
            metric._update_count = count


@contextlib.contextmanager
def _evaluating(module: torch.nn.Module) -> Iterator[None]:
    """Evaluation mode, then every submodule back to the mode that it had."""
    modes = [(submodule, submodule.training) for submodule in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for submodule, training in modes:
            submodule.training = training
