"""Train supernets and children: what the programs of text and of images share."""

from __future__ import annotations

import argparse
import logging
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn, cast

from nni_magic import __version__, strategies
from nni_magic.manager.trial import ManagedTrial, ReportValidation
from nni_magic.search import ChildEvaluator, ProgressiveShrinking

# isort: split
import pytorch_lightning as pl
import torch
from nni.mutable import Sample
from nni.nas.evaluator.pytorch import Lightning
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.nn.pytorch import ModelSpace
from nni.nas.space import RawFormatModelSpace, model_context
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger
from torch import Tensor
from torch.utils.data import DataLoader

STRATEGIES = {
    "spos": strategies.SPOS,
    "magic_t": strategies.MagicT,
    "magic_a": strategies.MagicA,
    "magic_at": strategies.MagicAT,
}


class Parser(argparse.ArgumentParser):
    """A parser whose errors are exceptions, so that a trial ends with one clear line."""

    def __init__(self, description: str | None) -> None:
        super().__init__(
            description=description, formatter_class=argparse.RawDescriptionHelpFormatter
        )

    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what the training of a supernet needs, whatever the space and the data."""
    add = parser.add_argument
    add("--strategy", help=f"one of {', '.join(STRATEGIES)}")
    add("--seed", type=int, default=0)

    train = parser.add_argument_group("training")
    train.add_argument("--epochs", type=int, default=5)
    train.add_argument("--epoch-steps", type=int, default=100, help="optimizer steps in an epoch")
    train.add_argument("--batch-size", type=int, default=32, help="rows on one device")
    train.add_argument("--accumulate", type=int, default=1, help="batches for an optimizer step")
    train.add_argument("--learning-rate", type=float, default=3e-3)
    train.add_argument("--warmup-steps", type=int, default=80)
    train.add_argument("--weight-decay", type=float, default=0.01)
    train.add_argument("--workers", type=int, default=0, help="processes that load data")
    train.add_argument("--threads", type=int, default=0, help="of torch on the CPU; 0: its choice")
    train.add_argument("--devices", default="auto")
    train.add_argument("--precision", default="32-true")
    train.add_argument("--distributed", default="auto", help="Lightning's strategy, e.g. for DDP")
    train.add_argument(
        "--sync-batchnorm",
        action="store_true",
        help="take BatchNorm's statistics over the batches of all devices",
    )

    method = parser.add_argument_group("method")
    method.add_argument("--k", type=int, default=1)
    method.add_argument("--alignment-weight", type=float, default=0.5)
    method.add_argument("--align-every", type=int, default=4)
    method.add_argument("--warmup-epochs", type=int, default=2, help="before there is an anchor")
    method.add_argument("--anchor-interval", type=int, default=100)
    method.add_argument(
        "--n-drop",
        type=int,
        default=0,
        help="candidates deleted after an epoch (progressive shrinking); 0: none",
    )
    method.add_argument(
        "--evaluations",
        type=int,
        default=1000,
        help="children scored after an epoch when shrinking",
    )
    method.add_argument(
        "--search-batches", type=int, default=4, help="validation batches that score a child"
    )


def check_names(settings: argparse.Namespace, **known: Collection[str]) -> None:
    """Make sure that the names in the settings are known.

    Raises
    ------
    ValueError
        Naming the first one that is not.
    """
    for name, accepted in known.items():
        if (value := getattr(settings, name)) not in accepted:
            raise ValueError(f"{name} is {value!r}; accepted are {', '.join(accepted)}")


class Domain(ABC):
    """A search space with its data and its training: all in which text and images differ.

    Parameters
    ----------
    settings
        The command line.
    space
        Arguments of the search space, in place of those of its preset.
    """

    accuracy: str
    """Name under which the evaluator logs the accuracy in validation."""

    packages: tuple[str, ...] = ("nni", "numpy", "pytorch-lightning", "torch")
    """What results depend on."""

    def __init__(
        self, settings: argparse.Namespace, space: Mapping[str, Any] | None = None
    ) -> None:
        self.settings = settings
        self.space = dict(space or {})

    @cached_property
    def data(self) -> Any:
        """The data; to load them also seeds this process and sets its threads."""
        logging.getLogger("nni_magic").setLevel(logging.INFO)
        pl.seed_everything(self.settings.seed, verbose=False)
        if self.settings.threads:
            torch.set_num_threads(self.settings.threads)
        return self.load()

    @abstractmethod
    def load(self) -> Any:
        """Load the data."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """What to record of the data."""

    @abstractmethod
    def make_space(self) -> ModelSpace:
        """Build the space; called where NNI's ``model_context`` is set, a child of it."""

    @abstractmethod
    def example(self) -> Tensor:
        """Two rows of input."""

    @abstractmethod
    def evaluator(self, **settings: Any) -> Lightning:
        """Make an evaluator that trains.

        Parameters
        ----------
        **settings
            ``total_steps``, ``batch_size``, ``seed``, ``num_workers``, ``learning_rate``,
            ``warmup_steps``, ``weight_decay``, ``trainer_kwargs``, and what the evaluator of this
            domain takes besides.
        """

    @abstractmethod
    def search_evaluator(self, **settings: Any) -> Lightning:
        """Make an evaluator for a search.

        Parameters
        ----------
        **settings
            ``batch_size``, ``num_workers`` and ``trainer_kwargs``.
        """

    @abstractmethod
    def test_data(self) -> DataLoader:
        """What no search and no training has seen.

        Raises
        ------
        ValueError
            If nothing is left.
        """

    @property
    def filter(self) -> Any:
        """Constraint on the children that are trained and searched."""
        return None

    def costs(self, sample: Sample) -> dict[str, float]:
        """What a child costs, as the constraint counts it."""
        return {}

    def child_evaluator(self, supernet: ModelSpace) -> ChildEvaluator:
        """Score children with the weights that they inherit."""
        settings = self.settings
        evaluator = self.search_evaluator(
            batch_size=settings.batch_size, num_workers=settings.workers,
            trainer_kwargs={"devices": 1, "precision": settings.precision},
        )  # fmt: skip
        return ChildEvaluator(supernet, evaluator, n_batches=settings.search_batches)

    def versions(self) -> dict[str, str]:
        """Versions of what a result depends on."""
        return {"nni-magic": __version__, **{name: version(name) for name in self.packages}}


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
    """
    settings = domain.settings
    evaluator = _evaluator(
        domain, trial, folder / "supernet.ckpt", settings.output, settings.epochs
    )
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
        learning_rate=settings.retrain_learning_rate or settings.learning_rate, **trainer_kwargs,
    )  # fmt: skip
    evaluator.evaluate(child)
    [tested] = evaluator.trainer.test(evaluator.module, domain.test_data(), verbose=False)
    return child, {"loss": tested["val_loss"], "accuracy": tested[domain.accuracy]}


def check_retraining(domain: Domain) -> None:
    """Make sure that a child can be trained and tested, before hours go into its supernet.

    Raises
    ------
    ValueError
        If no data are left to test on, or the warm-up is longer than the training.
    """
    settings = domain.settings
    domain.test_data()
    steps = settings.retrain_epochs * settings.epoch_steps
    if settings.warmup_steps > steps:
        raise ValueError(
            f"warmup_steps is {settings.warmup_steps}, but a child is trained in {steps} steps: "
            f"retrain_epochs is {settings.retrain_epochs} and epoch_steps {settings.epoch_steps}"
        )


def add_retraining_options(parser: argparse.ArgumentParser, epochs: int) -> None:
    """Add what the training of a found child from scratch needs."""
    retrain = parser.add_argument_group("retraining")
    retrain.add_argument("--retrain-epochs", type=int, default=epochs, help="of a found child")
    retrain.add_argument(
        "--retrain-learning-rate", type=float, help="by default that of the supernet"
    )


def _evaluator(
    domain: Domain,
    trial: ManagedTrial,
    checkpoint: Path,
    logs: Path,
    epochs: int,
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
            "callbacks": [
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


def _keep_metrics(folder: Path) -> None:
    """Rename the metrics of an earlier start, because Lightning would delete them."""
    metrics = folder / "metrics.csv"
    if metrics.exists():
        metrics.rename(folder / f"metrics_{len(list(folder.glob('metrics_*.csv'))) + 1}.csv")


def plain(settings: argparse.Namespace) -> dict[str, Any]:
    """Settings in types that JSON knows."""
    return {k: str(v) if isinstance(v, Path) else v for k, v in vars(settings).items()}
