"""Run the evaluator's steps for our own ends, and leave all that belongs to it as it was."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers.logger import DummyLogger

from ..support.snapshot import Snapshot

__all__ = ["evaluating", "logged_to", "unnoticed", "untouched"]


@contextlib.contextmanager
def logged_to(evaluator: pl.LightningModule, log: Callable[..., None]) -> Iterator[None]:
    """Hand what the evaluator logs to a function while the block runs.

    What it writes to the trainer's loggers by itself, such as pictures, goes nowhere.
    """
    own = evaluator.__dict__.get("log")  # NNI puts the wrapper's there, in a fit
    evaluator.__dict__["log"] = log
    try:
        with _without_loggers(evaluator):
            yield
    finally:
        if own is None:
            del evaluator.__dict__["log"]
        else:
            evaluator.__dict__["log"] = own


@contextlib.contextmanager
def _without_loggers(evaluator: pl.LightningModule) -> Iterator[None]:
    trainer = evaluator.__dict__.get("_trainer")
    if trainer is None:
        yield
        return
    loggers = trainer.loggers
    trainer.loggers = [DummyLogger() for _ in loggers]
    try:
        yield
    finally:
        trainer.loggers = loggers


@contextlib.contextmanager
def untouched(evaluator: pl.LightningModule) -> Iterator[Snapshot]:
    """Put the evaluator's plain attributes, buffers, metrics and generators back behind the block.

    So do those of its submodules and of objects that it holds, but not of the supernet, nor of
    trainers, loggers, data and optimizers; see :class:`nni_magic.support.snapshot.Snapshot`.

    Yields
    ------
    Snapshot
        To put all back in between, too.
    """
    supernet = cast(torch.nn.Module, evaluator.model)
    snapshot = Snapshot(evaluator, leave=supernet.modules())
    try:
        yield snapshot
    finally:
        snapshot.restore()


@contextlib.contextmanager
def unnoticed(evaluator: pl.LightningModule) -> Iterator[Snapshot]:
    """:func:`untouched`, and nothing is logged."""
    with logged_to(evaluator, _nowhere), untouched(evaluator) as snapshot:
        yield snapshot


def _nowhere(*args: object, **options: object) -> None:
    pass


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
