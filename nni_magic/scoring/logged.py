"""Find the metric of a child among what the evaluator logs."""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable
from typing import Any

import torch
from pytorch_lightning.utilities.data import extract_batch_size
from torch import Tensor
from torchmetrics import MaxMetric, MinMetric, SumMetric
from torchmetrics import Metric as TorchMetric

__all__ = ["FUNCTION", "RETURNED", "Logged", "Metric", "Value"]

Metric = str | Callable[[Any, Any], float] | None
"""Name of a logged metric, or a function of the model's outputs and the batch, or the loss."""
Value = float | tuple[float, float]
"""A metric, or its sum with the sum of weights that it is to be divided by."""

RETURNED = "the loss that validation_step returns"
FUNCTION = "the function of the outputs"


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
    """What the evaluator logs for one child: values with their weights instead of a logger."""

    def __init__(self) -> None:
        self.values: dict[str, list[tuple[Any, float]]] = {}
        self.metrics: dict[str, TorchMetric] = {}
        self.batch: Any = None

    def __call__(self, name: str, value: Any, *args: Any, **options: Any) -> None:
        value = self._reduced(name, value, options.get("reduce_fx", "mean"))
        if isinstance(value, TorchMetric):
            self.metrics[name] = value
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
        """Tell whether there is such a value or torchmetrics object."""
        return name in self.values or name in self.metrics

    def value(self, metric: Metric) -> Value:
        """The metric of a torchmetrics object, or a weighted sum with the sum of weights."""
        name = FUNCTION if callable(metric) else metric
        name = name or ("val_loss" if self.has("val_loss") else RETURNED)
        if name in self.metrics:
            return float(self.metrics[name].compute())
        if name not in self.values:
            raise ValueError(
                f"metric is {metric!r}; accepted are the names that the evaluator's validation "
                f"logs, {sorted({*self.values, *self.metrics})}, and None where it "
                "logs val_loss or returns the loss"
            )
        weighted = [(float(value) * weight, weight) for value, weight in self.values[name]]
        return sum(value for value, _ in weighted), sum(weight for _, weight in weighted)
