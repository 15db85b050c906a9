"""Run the evaluator's steps for our own ends, and leave all that belongs to it as it was."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Any, cast

import nni
import pytorch_lightning as pl
import torch
from nni.nas.evaluator.pytorch.lightning import SupervisedLearningModule
from nni.runtime.trial_command_channel import (
    TrialCommandChannel,
    get_default_trial_command_channel,
    set_default_trial_command_channel,
)
from pytorch_lightning.loggers.logger import DummyLogger

from ..supernet.stages import modes_kept
from ..support.snapshot import Snapshot

__all__ = ["evaluating", "logged_to", "unnoticed", "untouched"]


@contextlib.contextmanager
def logged_to(evaluator: pl.LightningModule, log: Callable[..., None]) -> Iterator[None]:
    """Hand what the evaluator logs to a function while the block runs.

    What it writes to the trainer's loggers by itself, such as pictures, goes nowhere, nor does what
    it reports to NNI. NNI's own evaluators write no ONNX.
    """
    own = evaluator.__dict__
    held = dict(own)
    own["log"] = log  # NNI puts the wrapper's there, in a fit
    if isinstance(evaluator, SupervisedLearningModule):
        evaluator.export_onnx = None
        evaluator._get_result_for_report = _nothing  # hooks of users call NNI's, which report
    try:
        with _without_loggers(evaluator), _without_reports():
            yield
    finally:
        for name in ("log", "export_onnx", "_get_result_for_report"):
            own.pop(name, None)
            own.update({name: held[name]} if name in held else {})


class _Silent(TrialCommandChannel):
    def send_metric(self, *args: Any, **kwargs: Any) -> None:
        pass


@contextlib.contextmanager
def _without_reports() -> Iterator[None]:
    channel, number = get_default_trial_command_channel(), nni.trial._intermediate_seq
    set_default_trial_command_channel(_Silent())
    try:
        yield
    finally:
        set_default_trial_command_channel(channel)
        nni.trial.overwrite_intermediate_seq(number)


def _nothing() -> float:
    return math.nan


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
    with Snapshot(evaluator, leave=supernet.modules()) as snapshot:
        yield snapshot


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
    with modes_kept(module):
        module.eval()
        yield
