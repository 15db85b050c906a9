"""Let trainer and evaluator say what they say in Lightning's own training and validation.

Evaluators ask: ``self.trainer.training`` in a hook that augments batches, ``self.training`` in a
step, ``self.trainer.sanity_checking`` where they report.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.trainer.states import RunningStage, TrainerFn
from pytorch_lightning.utilities.model_helpers import is_overridden
from torch import nn

from ..support.snapshot import Snapshot
from .hidden_states import as_anchor

__all__ = ["in_training", "in_validation", "modes_kept"]


@contextlib.contextmanager
def in_training(module: pl.LightningModule) -> Iterator[None]:
    """The trainer trains while the block runs, and the evaluator's step is run as an anchor is.

    That is in training mode, with dropout off and no buffer of a norm written; see
    :func:`nni_magic.supernet.hidden_states.as_anchor`. Parts that are in evaluation mode by
    themselves stay so.

    Parameters
    ----------
    module
        NNI's wrapper of the evaluator's module, attached to a trainer.
    """
    with _stage(module.trainer, RunningStage.TRAINING), modes_kept(module):
        if not module.training:
            module.train()
        with as_anchor(list(module.modules())):
            yield


@contextlib.contextmanager
def in_validation(module: pl.LightningModule) -> Iterator[None]:
    """The trainer validates, and the evaluator is in the mode that it validates in.

    By default that is evaluation mode; ``on_validation_model_eval`` may say otherwise.
    """
    evaluator: Any = module.training_module
    with _stage(module.trainer, RunningStage.VALIDATING), modes_kept(module):
        module.eval()
        if not is_overridden("on_validation_model_eval", evaluator):
            yield
            return
        with Snapshot(evaluator, leave=evaluator.model.modules()):
            evaluator.on_validation_model_eval()
            try:
                yield
            finally:
                evaluator.on_validation_model_train()


@contextlib.contextmanager
def modes_kept(module: nn.Module) -> Iterator[None]:
    """Give every submodule its own mode back behind the block."""
    modes = [(submodule, submodule.training) for submodule in module.modules()]
    try:
        yield
    finally:
        for submodule, training in modes:
            submodule.training = training


@contextlib.contextmanager
def _stage(trainer: Any, stage: RunningStage) -> Iterator[None]:
    state = trainer.state
    own = state.fn, state.stage
    if stage == RunningStage.TRAINING:
        state.fn = TrainerFn.FITTING
    elif state.fn != TrainerFn.FITTING:  # a fit validates, too
        state.fn = TrainerFn.VALIDATING
    state.stage = stage
    try:
        yield
    finally:
        state.fn, state.stage = own
