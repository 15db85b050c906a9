"""Run the evaluator's steps for our own ends, and leave all that belongs to it as it was."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytorch_lightning as pl
import torch
from torchmetrics import Metric as TorchMetric

__all__ = ["evaluating", "kept_metrics", "logged_to"]


@contextlib.contextmanager
def logged_to(evaluator: pl.LightningModule, log: Callable[..., None]) -> Iterator[None]:
    """Hand what the evaluator logs to a function while the block runs."""
    own = evaluator.__dict__.get("log")  # NNI puts the wrapper's there, in a fit
    evaluator.__dict__["log"] = log
    try:
        yield
    finally:
        if own is None:
            del evaluator.__dict__["log"]
        else:
            evaluator.__dict__["log"] = own


@contextlib.contextmanager
def kept_metrics(module: torch.nn.Module) -> Iterator[list[TorchMetric]]:
    """Restore the state of a module's metrics when the block ends; gives the metrics."""
    metrics = [metric for metric in module.modules() if isinstance(metric, TorchMetric)]
    states = [(metric, metric._copy_state_dict(), metric._update_count) for metric in metrics]
    try:
        yield metrics
    finally:
        for metric, state, count in states:
            metric.reset()
            for name, value in state.items():
                setattr(metric, name, value)
            metric._update_count = count


@contextlib.contextmanager
def evaluating(module: torch.nn.Module) -> Iterator[None]:
    """Evaluation mode while the block runs; every submodule then has its own mode again."""
    modes = [(submodule, submodule.training) for submodule in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for submodule, training in modes:
            submodule.training = training
