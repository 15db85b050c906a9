"""The published accuracy of the cell that a mixture ends at, on NNI's space of NAS-Bench-201.

Trains mixtures, and of each keeps, epoch by epoch, the entropy of its weights and the cell of its
largest weights. What that cell reaches when it is trained for itself has been published; beside
it stand a cell drawn at random, the cell of skip connections alone and the best one::

    python -m experiments.studies.mixtures --plan experiments/plans/mixtures/nasbench201_small.yml \
        --runs experiments/records/mixtures_nasbench201_small --data FOLDER --threads 1

The folder is that of ``experiments/studies/nasbench201.py``. Several processes may run it at once;
what is in the folder of the trainings already is not trained again.
"""

from __future__ import annotations

import dataclasses
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytorch_lightning as pl
import torch
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.space import RawFormatModelSpace

from experiments.benchmarks.reporting import report_parser, table, write_report
from experiments.studies.cells import cell as written
from experiments.studies.claims import make_once
from experiments.studies.command_line import add_data_options
from experiments.studies.nasbench201 import NasBench201, cell_of
from experiments.studies.settings import made
from experiments.studies.trainings import Training
from nni_magic.analysis.intervals import MeanInterval, over_seeds
from nni_magic.programs.options import typed_settings
from nni_magic.strategies.registry import METHODS, method
from nni_magic.support.errors import check_choice, check_count, check_seed, naming
from nni_magic.support.made_with import check_same, read_result
from nni_magic.support.yaml_files import read_settings

__all__ = ["Cells", "Plan", "markdown", "summary", "train", "train_missing"]

MIXTURES = [name for name, row in METHODS.items() if row.differentiable]
SKIPS = "111111"
VALIDATION_BATCHES = 4
QUIET = {
    "logger": False, "enable_checkpointing": False, "enable_progress_bar": False,
    "enable_model_summary": False, "num_sanity_val_steps": 0,
}  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """What is trained.

    Parameters
    ----------
    options
        Settings of the images, see :class:`experiments.studies.published.PublishedSettings`.
    space
        Arguments of NNI's space.
    training
        See there.
    epochs, epoch_steps
        Of every training, and optimizer steps of the weights in an epoch.
    seeds
        Of weights, data and strategy: two or more.
    variants
        Name to a ``strategy`` that trains a mixture and its settings.
    """

    options: Mapping[str, Any]
    space: Mapping[str, Any]
    training: Training
    epochs: int
    epoch_steps: int
    seeds: Sequence[int]
    variants: Mapping[str, Mapping[str, Any]]

    def __post_init__(self) -> None:
        check_count("epochs", self.epochs)
        check_count("epoch_steps", self.epoch_steps)
        check_seed("seeds", self.seeds)
        if len(set(self.seeds)) < 2:
            raise ValueError(f"seeds is {self.seeds!r}; accepted are two different ones or more")
        for name in self.variants:
            with naming(f"variants: {name}"):
                self.strategy(name, 0)

    def strategy(self, name: str, seed: int) -> tuple[Any, Any]:
        """Row of the strategy of a variant, and its typed settings."""
        own = dict(self.variants[name])
        check_choice("strategy", found := own.pop("strategy", None), MIXTURES)
        given = {"seed": seed, "metric": "val_acc", **own}
        return method(found), typed_settings(method(found).settings, given)

    @classmethod
    def read(cls, path: Path) -> Plan:
        """Read a plan.

        Raises
        ------
        ValueError
            If a setting is missing, unknown or not accepted.
        """
        settings = read_settings("plan", path)
        with naming(f"plan {str(path)!r}"):
            training = made(Training, settings.pop("training", None), "training")
            return made(cls, settings, "settings", training=training)

    def open(self, data: Path | None, cache: Path) -> NasBench201:
        """Open images, table and space."""
        settings = typed_settings(NasBench201.settings_type, self.options)
        settings = dataclasses.replace(settings, cache=cache)
        if data is not None:
            settings = settings.with_data(data)
        return NasBench201(settings, self.space)


class Cells(pl.Callback):
    """Keeps entropy, largest weight, accuracy and cell of a mixture at the end of every epoch."""

    def __init__(self) -> None:
        self.kept: dict[str, list[Any]] = {
            "entropy": [], "largest": [], "accuracy": [], "cell": [],
        }  # fmt: skip

    def on_validation_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        now = {name: float(value) for name, value in pl_module.architecture.summary().items()}
        now["accuracy"] = float(trainer.callback_metrics["val_acc"])
        for name, value in {**now, "cell": cell_of(pl_module.export())}.items():
            self.kept[name].append(value)


def train(plan: Plan, domain: NasBench201, name: str, seed: int) -> dict[str, Any]:
    """Train a mixture; gives what was kept, its cell and the weights of its candidates."""
    row, settings = plan.strategy(name, seed)
    evaluator = domain.evaluator(
        total_steps=plan.epochs * plan.epoch_steps, seed=seed,
        **dataclasses.asdict(plan.training),
        trainer_kwargs={
            **QUIET, "max_steps": -1, "max_epochs": plan.epochs,
            "limit_train_batches": plan.epoch_steps, "limit_val_batches": VALIDATION_BATCHES,
            "callbacks": [cells := Cells()],
        },
    )  # fmt: skip
    space = RawFormatModelSpace.from_model(domain.seeded_space(seed), evaluator)
    strategy = row.load()(**vars(settings))
    strategy(space, SequentialExecutionEngine())
    [child] = strategy.list_models()
    return {
        "made_with": _made_with(plan, name), "seed": seed, "images": domain.images_digest,
        "epochs": cells.kept, "cell": cell_of(child.sample), "inherited": child.metric,
        "weights": strategy.architecture.weights(),
    }  # fmt: skip


def _made_with(plan: Plan, name: str) -> dict[str, Any]:
    whole = dataclasses.asdict(plan)
    del whole["seeds"], whole["variants"]
    return {**whole, "variant": dict(plan.variants[name])}


def train_missing(plan: Plan, domain: NasBench201, runs: Path) -> None:
    """Train all that is not there yet, and is claimed by no other process.

    Raises
    ------
    ValueError
        If one was made with other settings or on other images; before anything is trained.
    """
    for name in plan.variants:
        for seed in plan.seeds:
            if (run := _read(plan, runs, name, seed)) is not None:
                images = {"images": domain.images_digest}
                check_same(repr(str(_file(runs, name, seed))), {"images": run["images"]}, images)
    for seed in plan.seeds:
        for name in plan.variants:
            make_once(_file(runs, name, seed), partial(train, plan, domain, name, seed))


def _file(runs: Path, name: str, seed: int) -> Path:
    return runs / f"{name}_seed{seed}.json"


def _read(plan: Plan, runs: Path, name: str, seed: int) -> dict[str, Any] | None:
    return read_result(_file(runs, name, seed), _made_with(plan, name), cell=str, images=str)


def read_runs(plan: Plan, runs: Path) -> dict[str, list[dict[str, Any]]]:
    """Read all trainings that are there, seed by seed.

    Raises
    ------
    ValueError
        If one was made with other settings, or a variant has fewer than two.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for name in plan.variants:
        own = [_read(plan, runs, name, seed) for seed in plan.seeds]
        found[name] = [run for run in own if run is not None]
        if len(found[name]) < 2:
            raise ValueError(f"{name!r} has {len(found[name])} trainings; accepted are two or more")
    return found


def summary(
    found: Mapping[str, Sequence[Mapping[str, Any]]], published: pd.DataFrame
) -> list[dict[str, Any]]:
    """Published accuracy of the cells, and what was kept of the mixtures, over seeds."""
    rows = []
    for name, own in found.items():
        cells = [run["cell"] for run in own]
        rows.append({
            "name": name,
            "cells": cells,
            "accuracy": over_seeds([published.cifar10_val[one] for one in cells]),
            "rank": over_seeds([_better(published, one) for one in cells]),
            "skips": over_seeds([one.count("1") for one in cells]),
            "entropy": over_seeds([run["epochs"]["entropy"][-1] for run in own]),
            "mixture": over_seeds([run["epochs"]["accuracy"][-1] for run in own]),
            "inherited": over_seeds([run["inherited"] for run in own]),
        })  # fmt: skip
    return rows


def _better(published: pd.DataFrame, one: str) -> float:
    """Share of all cells, in percent, that are better."""
    return 100 * float((published.cifar10_val > published.cifar10_val[one]).mean())


def beside(published: pd.DataFrame) -> dict[str, float]:
    """Published accuracy of what no training is needed for, in percent."""
    accuracy = published.cifar10_val
    return {
        "a random cell, on average": float(accuracy.mean()),
        "a random cell, the median": float(accuracy.median()),
        "skip connections alone": float(accuracy[SKIPS]),
        "the best cell": float(accuracy.max()),
    }


def markdown(rows: Sequence[Mapping[str, Any]], published: pd.DataFrame) -> str:
    """Lay the means out."""
    columns = ("accuracy", "rank", "skips", "entropy", "mixture", "inherited")
    trained = table(
        ["variant", "published accuracy (%)", "better cells (%)", "skips of 6", "entropy (nats)",
         "mixture", "child, inherited weights", "cells"],
        ([row["name"], *(written(row[key]) for key in columns), " ".join(row["cells"])]
         for row in rows),
    )  # fmt: skip
    trivial = table(
        ["beside", "published accuracy (%)"],
        ([name, f"{value:.3f}"] for name, value in beside(published).items()),
    )
    return (
        "Published validation accuracy on CIFAR-10 of the cell of the largest weights at the end, "
        "and what the mixture was by then: means over seeds with Student's 95 % interval. A cell "
        "is six digits, see experiments/studies/nasbench201.py: 0 none, 1 skip, 2 convolution "
        f"1 x 1, 3 convolution 3 x 3, 4 average.\n\n{trained}\n\n{trivial}"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Train what is missing, and report."""
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = report_parser(__doc__)
    parser.add_argument("--plan", type=Path, required=True, help="YAML file of the trainings")
    parser.add_argument("--runs", type=Path, required=True, help="folder of the trainings")
    add_data_options(parser)
    settings = parser.parse_args(arguments)
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.WARNING)
    logging.getLogger("experiments").setLevel(logging.INFO)
    torch.set_num_threads(settings.threads)
    try:
        plan = Plan.read(settings.plan)
        domain = plan.open(settings.data, settings.cache)
        published = domain.data and domain.table
    except (ValueError, FileNotFoundError) as error:
        parser.error(str(error))
    train_missing(plan, domain, settings.runs)
    rows = summary(read_runs(plan, settings.runs), published)
    text = markdown(rows, published)
    print(text)
    theme, program = f"mixtures_{settings.plan.stem}", "experiments.studies.mixtures"
    plain = [{key: dataclasses.asdict(value) if isinstance(value, MeanInterval) else value
              for key, value in row.items()} for row in rows]  # fmt: skip
    results = {"rows": plain, "beside": beside(published)}
    write_report(theme, settings, arguments, results, text, program=program)


if __name__ == "__main__":
    main()
