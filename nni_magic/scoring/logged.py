"""Find the metric of a child among what the evaluator logs."""

from __future__ import annotations

import builtins
import math
from collections import Counter
from collections.abc import Callable
from typing import Any

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
    ``/dataloader_idx_<n>``, unless the evaluator logs with ``add_dataloader_idx=False``.
    """

    def __init__(self) -> None:
        self.values: dict[str, list[tuple[Any, float]]] = {}
        self.metrics: dict[str, TorchMetric] = {}
        self.batch: Any = None
        self._loader: int | None = None
        self._rows: Counter[str] = Counter()
        self._ended: dict[str, float] = {}

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
        if self.batch is not None and options.get("add_dataloader_idx", True):
            name += "" if self._loader is None else f"{_SUFFIX}{self._loader}"
        value = self._reduced(name, value, options.get("reduce_fx", "mean"))
        if isinstance(value, TorchMetric):
            self.metrics[name] = value
            if self._loader is not None:
                self._rows[name] += extract_batch_size(self.batch)
            return
        weight = options.get("batch_size")
        if weight is None:  # in a hook of the epoch there is no batch
            weight = 1 if self.batch is None else extract_batch_size(self.batch)
        # Not made a float here: on a GPU that would wait, for metrics that nobody asks for, too.
        self.values.setdefault(name, []).append((value, weight))

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
            raise ValueError(
                f"metric is {metric!r}; accepted are the names that the evaluator's validation "
                f"logs, {sorted({*self.values, *self.metrics})}, and None where it "
                "logs val_loss or returns the loss"
            )
        if name in self._ended:
            return self._ended[name]
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

    def _names(self, name: str) -> list[str]:
        """The name itself, or else it with the suffix of every loader."""
        known = [*self.metrics, *self.values]
        return [name] if name in known else [n for n in known if n.startswith(name + _SUFFIX)]
