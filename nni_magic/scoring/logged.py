"""Find the metric of a child among what the evaluator logs."""

from __future__ import annotations

import builtins
import inspect
import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.data import extract_batch_size
from torch import Tensor
from torchmetrics import MaxMetric, MinMetric, SumMetric
from torchmetrics import Metric as TorchMetric

from ..supernet.loaders import LoadedBatch

__all__ = ["FUNCTION", "RETURNED", "Logged", "Metric", "Value"]

Metric = str | Callable[[Any, Any], float] | None
"""Name of a logged metric, or a function of the model's outputs and the batch, or the loss."""
Value = float | tuple[float, float]
"""A metric, or its sum with the sum of weights that it is to be divided by."""

RETURNED = "the loss that validation_step returns"
FUNCTION = "the function of the outputs"
_SUFFIX = "/dataloader_idx_"
_LOG = inspect.signature(pl.LightningModule.log)
_LOG = _LOG.replace(parameters=[*_LOG.parameters.values()][1:])  # without ``self``

_REDUCTIONS: dict[str, type[TorchMetric] | None] = {
    "mean": None, "avg": None, "sum": SumMetric, "min": MinMetric, "max": MaxMetric,
}  # fmt: skip


def _reduction(name: str, reduce_fx: Any) -> type[TorchMetric] | None:
    """What accumulates values, by what Lightning takes: a name, or torch's or Python's function."""
    called = reduce_fx.lower() if isinstance(reduce_fx, str) else None
    for known, kind in _REDUCTIONS.items():
        functions = [getattr(owner, known, None) for owner in (torch, builtins)]
        if called == known or (callable(reduce_fx) and reduce_fx in functions):
            return kind
    raise ValueError(
        f"reduce_fx of {name!r} is {reduce_fx!r}; accepted are mean, sum, min and max, as in "
        "Lightning, or a torchmetrics object to be logged"
    )


class Logged:
    """What the evaluator logs for one child: values with their weights instead of a logger.

    Of several loaders that are read one after another, names have Lightning's suffix
    ``/dataloader_idx_<n>``, unless the evaluator logs with ``add_dataloader_idx=False``. What is
    logged with ``on_step=True``, too, is also found as ``<name>_epoch``; what is logged with
    ``on_epoch=False`` is none of Lightning's ``callback_metrics``, and no metric here.
    """

    def __init__(self) -> None:
        self.values: dict[str, list[tuple[Any, float]]] = {}
        self.metrics: dict[str, TorchMetric] = {}
        self.batch: Any = None
        self._loader: int | None = None
        self._rows: Counter[str] = Counter()
        self._ended: dict[str, float] = {}
        self._epochs: dict[str, str] = {}
        self._of_steps: set[str] = set()
        self._with_batch: dict[str, bool] = {}

    def begin(self, held: LoadedBatch) -> None:
        """What is logged next is of this batch."""
        if held.dataloader_idx != self._loader:
            self._end_loader()
        self.batch, self._loader = held.batch, held.dataloader_idx

    def _end_loader(self) -> None:
        """Compute metrics as Lightning does: before another loader is added to their state."""
        for name, metric in self.metrics.items():
            if name.endswith(f"{_SUFFIX}{self._loader}"):
                self._ended[name] = float(metric.compute())

    def __call__(self, name: str, value: Any, *args: Any, **options: Any) -> None:
        """Take what Lightning's ``self.log`` takes."""
        if args:  # by position, which is seldom: to bind them takes as long as all the rest
            options = _LOG.bind(name, value, *args, **options).arguments
            name, value = options.pop("name"), options.pop("value")
        self._take(name, value, **options)

    def _take(
        self,
        name: str,
        value: Any,
        *,
        on_step: bool | None = None,
        on_epoch: bool | None = None,
        reduce_fx: Any = "mean",
        add_dataloader_idx: bool = True,
        batch_size: int | None = None,
        **others: Any,
    ) -> None:
        suffix = ""
        if self.batch is not None and self._loader is not None and add_dataloader_idx:
            suffix = f"{_SUFFIX}{self._loader}"
        if on_epoch is False:  # by default values are of the epoch, in a validation
            self._of_steps.add(name + suffix)
            return
        if on_step:
            self._epochs[f"{name}_epoch{suffix}"] = name + suffix
        self._begin_name(name + suffix)
        self._accumulate(name + suffix, value, reduce_fx, batch_size)

    def _begin_name(self, name: str) -> None:
        """Forget what a step has logged by a name that a hook of the epoch logs, or vice versa.

        Lightning keeps the two apart, and gives the latter.
        """
        with_batch = self.batch is not None
        if self._with_batch.setdefault(name, with_batch) != with_batch:
            self._with_batch[name] = with_batch
            for kept in (self.values, self.metrics, self._rows, self._ended):
                kept.pop(name, None)

    def _accumulate(self, name: str, value: Any, reduce_fx: Any, batch_size: int | None) -> None:
        value = self._reduced(name, value, reduce_fx)
        if isinstance(value, TorchMetric):
            self.metrics[name] = value
            if self._loader is not None:
                self._rows[name] += extract_batch_size(self.batch)
            return
        if batch_size is None:  # in a hook of the epoch there is no batch
            batch_size = 1 if self.batch is None else extract_batch_size(self.batch)
        # Not made a float here: on a GPU that would wait, for metrics that nobody asks for, too.
        value = value.detach().clone() if isinstance(value, Tensor) else value
        self.values.setdefault(name, []).append((value, batch_size))

    def _reduced(self, name: str, value: Any, reduce_fx: Any) -> Any:
        """A metric that accumulates the values of a name, where Lightning does not average them."""
        kind = _reduction(name, reduce_fx)
        if kind is None or isinstance(value, TorchMetric):
            return value
        if name not in self.metrics:
            device = value.device if isinstance(value, Tensor) else "cpu"
            self.metrics[name] = kind(nan_strategy=math.nan).to(device)
        self.metrics[name].update(value)
        return self.metrics[name]

    def has(self, name: str) -> bool:
        """Tell whether there is such a value or torchmetrics object, of any loader."""
        return bool(self._names(name))

    def value(self, metric: Metric) -> Value:
        """The metric of a torchmetrics object, or a weighted sum with the sum of weights.

        A name without suffix is of all loaders together.
        """
        name = FUNCTION if callable(metric) else metric
        name = name or ("val_loss" if self.has("val_loss") else RETURNED)
        names = self._names(name)
        if not names:
            raise ValueError(self._unknown(metric))
        if names[0] in self._ended and len(names) == 1:
            return self._ended[names[0]]
        metrics = {id(one): (key, one) for key in names if (one := self.metrics.get(key))}
        if len(metrics) == 1:
            [(_, one)] = metrics.values()
            return float(one.compute())
        logged: list[tuple[Any, float]] = [
            (one.compute(), self._rows[key]) for key, one in metrics.values()
        ]
        logged += [entry for key in names for entry in self.values.get(key, [])]
        weighted = [(float(value) * weight, weight) for value, weight in logged]
        return sum(value for value, _ in weighted), sum(weight for _, weight in weighted)

    def _unknown(self, metric: Metric) -> str:
        known = sorted({*self.values, *self.metrics, *self._epochs})
        left_out = (
            f"; {sorted(self._of_steps)} are logged with on_epoch=False, and have no value for a "
            "validation" if self._of_steps else ""
        )  # fmt: skip
        return (
            f"metric is {metric!r}; accepted are the names that the evaluator's validation logs, "
            f"{known}, and None where it logs val_loss or returns the loss{left_out}"
        )

    def _names(self, name: str) -> list[str]:
        """Names under which values are kept: the name's own, or else those of every loader."""
        known = {key: key for key in (*self.metrics, *self.values)}
        known = {**self._epochs, **known}
        if name in known:
            return [known[name]]
        return [kept for key, kept in known.items() if key.startswith(name + _SUFFIX)]
