"""Train supernets and children: what the programs of text and of images share."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
from nni.mutable import Sample
from nni.nas.evaluator.pytorch import Lightning
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.nn.pytorch import ModelSpace
from nni.nas.space import RawFormatModelSpace, model_context
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger

from .. import strategies
from ..manager.trial import ManagedTrial, ReportValidation
from ..search import ProgressiveShrinking
from ..search.population import check_count
from ..supernet.checkpoint import AtomicCheckpointIO
from ..supernet.resume import RandomState, Replay, batches_done, resumable
from ..tasks.domain import Domain
from .made_with import MadeWith
from .options import STRATEGIES, plain

UNTRAINED = {
    "cache", "corpus", "data", "devices", "distributed", "download", "output", "population",
    "search_children", "threads", "workers",
}  # fmt: skip
"""Settings that change nothing in a training, or may change when it goes on; data have digests."""
RETRAINING = {"retrain_epochs", "retrain_learning_rate"}
OF_SUPERNETS = {
    "align_every", "alignment_weight", "anchor_interval", "epochs", "evaluations", "k", "n_drop",
    "strategy", "warmup_epochs",
}  # fmt: skip
"""Settings that change nothing in the training of a child."""


class Resume(pl.Callback):
    """Lets a child go on after a kill with the data and the generators of its checkpoint.

    Supernets do so by themselves, see :mod:`nni_magic.supernet.resume`.
    """

    def __init__(self, evaluator: Lightning) -> None:
        self.replay = Replay()
        evaluator.train_dataloaders = resumable(
            evaluator.train_dataloaders, lambda: batches_done(evaluator.trainer), self.replay
        )

    def state_dict(self) -> dict[str, Any]:
        return self.replay.state_dict(RandomState.capture())

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.replay.load_state_dict(state_dict)


def make_strategy(settings: argparse.Namespace, filter: Any = None) -> strategies.SPOS:
    """Create the strategy with the settings that it knows."""
    own: dict[str, Any] = {}
    if settings.strategy in ("magic_t", "magic_at"):
        own["k"] = settings.k
    if settings.strategy in ("magic_a", "magic_at"):
        own.update(
            alignment_weight=settings.alignment_weight,
            align_every=settings.align_every,
            warmup_epochs=settings.warmup_epochs,
            anchor_interval=settings.anchor_interval,
        )
    if settings.n_drop:
        own["shrinking"] = ProgressiveShrinking(
            n_drop=settings.n_drop, evaluations=settings.evaluations
        )
    return cast(Any, STRATEGIES[settings.strategy])(
        seed=settings.seed, metric="val_loss", filter=filter,
        validation_batches=settings.search_batches, **own
    )  # fmt: skip


def train_supernet(
    domain: Domain, space: ModelSpace, trial: ManagedTrial, folder: Path
) -> strategies.SPOS:
    """Train the supernet in place, into ``supernet.ckpt``; continue from there if it exists.

    Returns
    -------
    SupernetStrategy
        The strategy after its run.

    Raises
    ------
    ValueError
        If the checkpoint was made with other settings.
    """
    settings = domain.settings
    evaluator = _evaluator(
        domain, trial, folder / "supernet.ckpt", settings.output, settings.epochs,
        _made_with(domain, without=RETRAINING),
    )  # fmt: skip
    strategy = make_strategy(settings, domain.filter)
    strategy(RawFormatModelSpace.from_model(space, evaluator), SequentialExecutionEngine())
    return strategy


def train_child(
    domain: Domain,
    sample: Sample,
    trial: ManagedTrial,
    checkpoint: Path,
    logs: Path,
    **trainer_kwargs: Any,
) -> tuple[ModelSpace, dict[str, float]]:
    """Train a child from scratch, and test it; continue from its checkpoint if that exists.

    Returns
    -------
    child
        The stand-alone child.
    metrics
        Its ``loss`` and ``accuracy`` on the data that no search has seen.
    """
    settings = domain.settings
    pl.seed_everything(settings.seed, verbose=False)
    with model_context(sample):
        child = domain.make_space()
    evaluator = _evaluator(
        domain, trial, checkpoint, logs, settings.retrain_epochs,
        {**_made_with(domain, without=OF_SUPERNETS), "sample": sample},
        learning_rate=settings.retrain_learning_rate or settings.learning_rate, **trainer_kwargs,
    )  # fmt: skip
    evaluator.trainer.callbacks.append(Resume(evaluator))
    evaluator.evaluate(child)
    [tested] = evaluator.trainer.test(evaluator.module, domain.test_data(), verbose=False)
    return child, {"loss": tested["val_loss"], "accuracy": tested[domain.accuracy]}


def check_retraining(domain: Domain) -> None:
    """Make sure that a child can be trained and tested, before hours go into its supernet.

    Raises
    ------
    ValueError
        If no data are left to test on, there is no epoch, or the warm-up is longer than all of
        them.
    """
    settings = domain.settings
    check_count("retrain_epochs", settings.retrain_epochs)
    domain.test_data()
    steps = settings.retrain_epochs * settings.epoch_steps
    if settings.warmup_steps > steps:
        raise ValueError(
            f"warmup_steps is {settings.warmup_steps}, but a child is trained in {steps} steps: "
            f"retrain_epochs is {settings.retrain_epochs} and epoch_steps {settings.epoch_steps}"
        )


def _evaluator(
    domain: Domain,
    trial: ManagedTrial,
    checkpoint: Path,
    logs: Path,
    epochs: int,
    made_with: Mapping[str, Any],
    *,
    learning_rate: float | None = None,
    **trainer_kwargs: Any,
) -> Lightning:
    settings = domain.settings
    evaluator = domain.evaluator(
        total_steps=epochs * settings.epoch_steps,
        batch_size=settings.batch_size,
        seed=settings.seed,
        num_workers=settings.workers,
        learning_rate=learning_rate or settings.learning_rate,
        warmup_steps=settings.warmup_steps,
        weight_decay=settings.weight_decay,
        trainer_kwargs={
            "max_steps": -1,
            "max_epochs": epochs,
            "limit_train_batches": settings.epoch_steps * settings.accumulate,
            "limit_val_batches": settings.search_batches,
            "accumulate_grad_batches": settings.accumulate,
            "devices": settings.devices,
            "precision": settings.precision,
            "strategy": settings.distributed,
            "sync_batchnorm": settings.sync_batchnorm,
            "num_sanity_val_steps": 0,
            "log_every_n_steps": 10,
            "enable_progress_bar": False,
            "logger": CSVLogger(logs, name="", version=""),
            "plugins": [AtomicCheckpointIO()],
            "callbacks": [
                MadeWith(checkpoint, made_with),
                ReportValidation(trial),
                ModelCheckpoint(
                    checkpoint.parent, checkpoint.stem, enable_version_counter=False,
                    save_on_train_epoch_end=True,
                ),
            ],
            **trainer_kwargs,
        },
    )  # fmt: skip
    check_epoch(evaluator, settings.epoch_steps, settings.batch_size, settings.accumulate)
    if trial.is_first_rank:
        _keep_metrics(logs)
    if checkpoint.exists():
        evaluator.fit_kwargs = {"ckpt_path": str(checkpoint), "weights_only": True}
    return evaluator


def check_epoch(
    evaluator: Lightning, epoch_steps: int, batch_size: int, accumulate: int = 1
) -> None:
    """Make sure that the training data have the optimizer steps of an epoch.

    Raises
    ------
    ValueError
        If they have fewer.
    """
    devices = evaluator.trainer.world_size
    available = len(evaluator.train_dataloaders) // (accumulate * devices)
    if epoch_steps > available:
        raise ValueError(
            f"epoch_steps is {epoch_steps}, but the training data have {available} steps "
            f"of {batch_size} rows in {accumulate} batch(es) on {devices} device(s)"
        )


def _made_with(domain: Domain, without: Collection[str]) -> dict[str, Any]:
    """Settings that must be the same for a training to be continued."""
    left_out = {*UNTRAINED, *without}
    chosen = {name: value for name, value in plain(domain.settings).items() if name not in left_out}
    return {**chosen, "space": domain.space, "data": domain.data_settings()}


def _keep_metrics(folder: Path) -> None:
    """Rename the metrics of an earlier start, because Lightning would delete them."""
    metrics = folder / "metrics.csv"
    if metrics.exists():
        metrics.rename(folder / f"metrics_{len(list(folder.glob('metrics_*.csv'))) + 1}.csv")
