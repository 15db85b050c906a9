"""Train supernets and children: what the programs of text and of images share."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import nni_bootstrap  # noqa: F401
import pytorch_lightning as pl
from nni.mutable import Sample
from nni.nas.evaluator.pytorch import Lightning
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.nn.pytorch import ModelSpace
from nni.nas.space import RawFormatModelSpace, model_context
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.plugins.environments import SLURMEnvironment, TorchElasticEnvironment
from pytorch_lightning.strategies import DDPStrategy

from ..manager.trial import ManagedTrial, ReportValidation
from ..search import ProgressiveShrinking
from ..search.processes import check_processes
from ..strategies.registry import method
from ..strategies.seeded import Seeded
from ..supernet.checkpoint import AtomicCheckpointIO
from ..supernet.ranks import ending_together
from ..supernet.replay import Replay, batches_done, resumable
from ..supernet.resume import RandomState
from ..support.errors import check_count
from ..tasks.domain import Domain
from ..tasks.settings import TaskSettings
from ..tasks.teaching import Lessons, Teacher
from .concerns import Retraining, Shrinking, Supernet
from .made_with import MadeWith
from .options import plain

_logger = logging.getLogger(__name__)

UNTRAINED = {
    "cache", "corpus", "data", "devices", "distributed", "download", "nodes", "not_finite",
    "processes", "rank_timeout", "threads", "workers",
}  # fmt: skip
"""Settings that change nothing in a training, or may change when it goes on; data have digests."""


class Resume(pl.Callback):
    """Lets a child go on after a kill with the data and the generators of its checkpoint.

    Supernets do so by themselves, see :mod:`nni_magic.supernet.replay`.
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


def make_strategy(
    task: TaskSettings,
    supernet: Supernet,
    shrinking: Shrinking | None = None,
    filter: Any = None,
    terms: Sequence[Any] = (),
) -> Seeded:
    """Create the strategy with the given settings that it has.

    The log names those that only other strategies have.
    """
    own = supernet.settings_for(task)
    if supernet.ignored:
        names = ", ".join(supernet.ignored)
        _logger.warning("Strategy %s has no setting %s: ignored", supernet.strategy, names)
    more: dict[str, Any] = {}
    if shrinking is not None and shrinking.n_drop:
        more["shrinking"] = ProgressiveShrinking(**asdict(shrinking))
    if terms:
        more["terms"] = terms
    given = {field.name: getattr(own, field.name) for field in fields(own)}
    return cast(Any, method(str(supernet.strategy)).load())(filter=filter, **given, **more)


def train_supernet(
    domain: Domain,
    supernet: Supernet,
    space: ModelSpace,
    trial: ManagedTrial,
    folder: Path,
    *,
    logs: Path,
    shrinking: Shrinking | None = None,
    teacher: Teacher | None = None,
    callbacks: Sequence[pl.Callback] = (),
) -> Seeded:
    """Train the supernet in place, into ``supernet.ckpt``; continue from there if it exists.

    Returns
    -------
    Seeded
        The strategy after its run.

    Raises
    ------
    ValueError
        If the checkpoint was made with other settings.
    """
    task = domain.settings
    made_with = {
        **asdict(task), **asdict(shrinking or Shrinking()),
        "strategy": supernet.strategy, **asdict(supernet.settings_for(task)),
        "warmup_steps": task.warmup_for(task.epochs),
    }  # fmt: skip
    lessons = Lessons()
    if teacher is not None and teacher.teacher is not None:
        lessons = domain.lessons(teacher, space)
        made_with |= lessons.made_with
    evaluator = _evaluator(
        domain, trial, folder / "supernet.ckpt", logs, task.epochs, _made_with(domain, made_with),
        callbacks,
    )  # fmt: skip
    strategy = make_strategy(task, supernet, shrinking, domain.filter, lessons.terms)
    strategy(RawFormatModelSpace.from_model(space, evaluator), SequentialExecutionEngine())
    return strategy


def train_child(
    domain: Domain,
    retraining: Retraining,
    sample: Sample,
    trial: ManagedTrial,
    checkpoint: Path,
    logs: Path,
    callbacks: Sequence[pl.Callback] = (),
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
    task = domain.settings
    with model_context(sample):
        child = domain.seeded_space()
    warmup_steps = task.warmup_for(retraining.retrain_epochs)
    made_with = {**asdict(task), **asdict(retraining), "warmup_steps": warmup_steps}
    del made_with["epochs"]  # of a supernet
    evaluator = _evaluator(
        domain, trial, checkpoint, logs, retraining.retrain_epochs,
        {**_made_with(domain, made_with), "sample": sample}, callbacks,
        learning_rate=retraining.retrain_learning_rate, **trainer_kwargs,
    )  # fmt: skip
    evaluator.trainer.callbacks.append(Resume(evaluator))
    with ending_together(evaluator.trainer):
        evaluator.evaluate(child)
    [tested] = evaluator.trainer.test(evaluator.module, domain.test_data(), verbose=False)
    return child, {"loss": tested[domain.loss], "accuracy": tested[domain.accuracy]}


def check_retraining(domain: Domain, retraining: Retraining) -> None:
    """Make sure that a child can be trained and tested, before hours go into its supernet.

    Raises
    ------
    ValueError
        If no data are left to test on, there is no epoch, or the warm-up is longer than the
        training.
    """
    check_count("retrain_epochs", retraining.retrain_epochs)
    domain.settings.check_warmup(retrain_epochs=retraining.retrain_epochs)
    domain.test_data()


def _evaluator(
    domain: Domain,
    trial: ManagedTrial,
    checkpoint: Path,
    logs: Path,
    epochs: int,
    made_with: Mapping[str, Any],
    callbacks: Sequence[pl.Callback],
    *,
    learning_rate: float | None = None,
    **trainer_kwargs: Any,
) -> Lightning:
    settings = domain.settings
    check_nodes(settings.nodes)
    evaluator = domain.evaluator(
        total_steps=epochs * settings.epoch_steps,
        batch_size=settings.batch_size,
        seed=settings.seed,
        num_workers=settings.workers,
        learning_rate=settings.learning_rate if learning_rate is None else learning_rate,
        warmup_steps=settings.warmup_for(epochs),
        weight_decay=settings.weight_decay,
        trainer_kwargs={
            "max_steps": -1,
            "max_epochs": epochs,
            "limit_train_batches": settings.epoch_steps * settings.accumulate,
            "limit_val_batches": settings.validation_batches,
            "accumulate_grad_batches": settings.accumulate,
            "devices": settings.devices,
            "num_nodes": settings.nodes,
            "precision": settings.precision,
            "strategy": _distributed(settings),
            "sync_batchnorm": settings.sync_batchnorm,
            "num_sanity_val_steps": 0,
            "log_every_n_steps": 10,
            "enable_progress_bar": sys.stdout.isatty(),  # not in the logs of trials
            "logger": CSVLogger(logs, name="", version=""),
            "plugins": [AtomicCheckpointIO()],
            "callbacks": [
                MadeWith(checkpoint, made_with),
                ReportValidation(trial),
                *callbacks,
                ModelCheckpoint(
                    checkpoint.parent, checkpoint.stem, enable_version_counter=False,
                    save_on_train_epoch_end=True,
                ),
            ],
            **trainer_kwargs,
        },
    )  # fmt: skip
    check_processes(settings.processes, evaluator.trainer.strategy.root_device)
    check_epoch(evaluator, settings.epoch_steps, settings.batch_size, settings.accumulate)
    if trial.is_first_rank:
        _keep_metrics(logs)
    if checkpoint.exists():
        evaluator.fit_kwargs = {"ckpt_path": str(checkpoint), "weights_only": True}
    return evaluator


def check_nodes(nodes: int) -> None:
    """Make sure that something starts the processes of several machines.

    Raises
    ------
    ValueError
        If nothing does: Lightning would wait for the other machines.
    """
    if nodes > 1 and not (TorchElasticEnvironment.detect() or SLURMEnvironment.detect()):
        raise ValueError(
            f"nodes is {nodes}; accepted is 1 where neither torchrun nor srun has started the "
            "program, on every machine"
        )


def _distributed(settings: TaskSettings) -> Any:
    """Lightning's strategy of that name, with the time-out."""
    if settings.distributed == "auto":
        return "auto"
    timeout = timedelta(seconds=settings.rank_timeout)
    return DDPStrategy(find_unused_parameters=True, timeout=timeout)


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


def _made_with(domain: Domain, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that must be the same for a training to be continued."""
    chosen = {name: value for name, value in plain(settings).items() if name not in UNTRAINED}
    return {**chosen, "space": domain.space, "data": domain.data_settings()}


def _keep_metrics(folder: Path) -> None:
    """Rename the metrics of an earlier start, because Lightning would delete them."""
    metrics = folder / "metrics.csv"
    if metrics.exists():
        metrics.rename(folder / f"metrics_{len(list(folder.glob('metrics_*.csv'))) + 1}.csv")
