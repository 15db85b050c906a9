"""What a mixture loses when all but its largest weights are pruned, with and without GAEA.

Trains mixtures on a small space, and of each keeps, epoch by epoch, the entropy of its weights and
the validation accuracy; and at the end the accuracy of the child of its largest weights, with
inherited weights and BatchNorm statistics of its own::

    python -m experiments.studies.pruning --plan experiments/plans/mixtures/chain.yml \
        --runs experiments/records/mixtures_chain --threads 1

Several processes may run it at once; what is in the folder already is not trained again. The
accuracies are of the validation data, on which architectures are trained, too.
"""

from __future__ import annotations

import dataclasses
import logging
import sys
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.nn.pytorch import LayerChoice, ModelSpace
from nni.nas.space import RawFormatModelSpace
from torch import Tensor, nn

from experiments.benchmarks.reporting import report_parser, table, write_report
from experiments.studies.cells import cell
from experiments.studies.claims import make_once
from experiments.studies.curves import draw_curves
from experiments.studies.floor.spaces import SMALL_SPACES, SmallSpace
from experiments.studies.settings import made
from nni_magic.analysis.intervals import over_seeds
from nni_magic.programs.options import typed_settings
from nni_magic.strategies.registry import METHODS, method
from nni_magic.support.errors import check_choice, check_count, check_seed, naming
from nni_magic.support.made_with import read_result
from nni_magic.support.yaml_files import read_settings

__all__ = ["Plan", "markdown", "summary", "train", "train_missing"]

WIDTH = 8
MIXTURES = [name for name, row in METHODS.items() if row.differentiable]


class Chain(ModelSpace):
    """Four blocks of five operators, on digits.

    ``(batch, 1, 8, 8)`` to ``(batch, 10)``.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, WIDTH, 3, padding=1)
        self.blocks = nn.Sequential(*(
            LayerChoice(
                OrderedDict(
                    conv1=_convolution(1), conv3=_convolution(3), conv5=_convolution(5),
                    pool=nn.AvgPool2d(3, 1, 1), skip=nn.Identity(),
                ),
                label=f"block_{n}",
            )
            for n in range(1, 5)
        ))  # fmt: skip
        self.head = nn.Linear(WIDTH * 16, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Compute the logits."""
        pooled = nn.functional.max_pool2d(self.blocks(self.stem(images)), 2)
        return self.head(pooled.flatten(1))


def _convolution(kernel: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(WIDTH, WIDTH, kernel, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(WIDTH), nn.ReLU(),
    )  # fmt: skip


SPACES = {
    "chain": SmallSpace(Chain, SMALL_SPACES["plain_cnn"].make_evaluator, "val_acc", "max"),
    "cells": SMALL_SPACES["cells"],
}
"""Spaces on digits, whose metric is an accuracy."""


@dataclass(frozen=True)
class Plan:
    """What is trained.

    Parameters
    ----------
    space
        Name in :data:`SPACES`.
    epochs
        Of every training.
    seeds
        Of weights, data and strategy: two or more.
    variants
        Name to a ``strategy`` that trains a mixture and its settings.
    baseline
        The variant that others are compared with, seed by seed.
    """

    space: str
    epochs: int
    seeds: Sequence[int]
    variants: Mapping[str, Mapping[str, Any]]
    baseline: str

    def __post_init__(self) -> None:
        check_choice("space", self.space, SPACES)
        check_count("epochs", self.epochs)
        check_seed("seeds", self.seeds)
        if not isinstance(self.seeds, Sequence) or len(set(self.seeds)) < 2:
            raise ValueError(f"seeds is {self.seeds!r}; accepted are two different ones or more")
        check_choice("baseline", self.baseline, self.variants)
        for name in self.variants:
            self.settings(name, 0)

    def settings(self, name: str, seed: int) -> Any:
        """Typed settings of a variant."""
        own, small = dict(self.variants[name]), SPACES[self.space]
        strategy = own.pop("strategy", None)
        check_choice("strategy", strategy, MIXTURES)
        given = {"seed": seed, "metric": small.metric, "mode": small.mode, **own}
        return typed_settings(method(strategy).settings, {"validation_batches": 100, **given})

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
            return made(cls, settings, "settings")


class Epochs(pl.Callback):
    """Keeps summary and validation accuracy of the mixture at the end of every epoch."""

    def __init__(self) -> None:
        self.kept: dict[str, list[float]] = {"entropy": [], "largest": [], "accuracy": []}

    def on_validation_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        summary = pl_module.architecture.summary()
        now = {**summary, "accuracy": trainer.callback_metrics["val_acc"]}
        for name, value in now.items():
            self.kept[name].append(float(value))


def train(plan: Plan, name: str, seed: int) -> dict[str, Any]:
    """Train a mixture; gives its curves, its child and the child's accuracy."""
    small, settings = SPACES[plan.space], plan.settings(name, seed)
    pl.seed_everything(seed, verbose=False)
    space, evaluator = small.make_space(), small.make_evaluator(seed)
    evaluator.trainer.fit_loop.max_epochs = plan.epochs
    evaluator.trainer.callbacks.append(epochs := Epochs())
    strategy = method(plan.variants[name]["strategy"]).load()(**vars(settings))
    strategy(RawFormatModelSpace.from_model(space, evaluator), SequentialExecutionEngine())
    [child] = strategy.list_models()
    return {
        "made_with": _made_with(plan, name), "seed": seed, "epochs": epochs.kept,
        "mixture": epochs.kept["accuracy"][-1], "child": child.metric, "sample": child.sample,
    }  # fmt: skip


def _made_with(plan: Plan, name: str) -> dict[str, Any]:
    return {"space": plan.space, "epochs": plan.epochs, "variant": dict(plan.variants[name])}


def train_missing(plan: Plan, runs: Path) -> None:
    """Train all that is not there yet, and is claimed by no other process.

    Raises
    ------
    ValueError
        If one was made with other settings; before anything is trained.
    """
    every = list(product(plan.seeds, plan.variants))
    for seed, name in every:
        _read(plan, runs, name, seed)
    for seed, name in every:
        make_once(_file(runs, name, seed), partial(train, plan, name, seed))


def _file(runs: Path, name: str, seed: int) -> Path:
    return runs / f"{name}_seed{seed}.json"


def _read(plan: Plan, runs: Path, name: str, seed: int) -> dict[str, Any] | None:
    return read_result(_file(runs, name, seed), _made_with(plan, name), epochs=dict)


def read_runs(plan: Plan, runs: Path) -> dict[str, list[dict[str, Any]]]:
    """Read all trainings, seed by seed.

    Raises
    ------
    ValueError
        If one was made with other settings, or is not there.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for name, seed in product(plan.variants, plan.seeds):
        if (run := _read(plan, runs, name, seed)) is None:
            raise ValueError(f"{name!r} of seed {seed} is not trained yet: another process does it")
        found.setdefault(name, []).append(run)
    return found


def summary(
    found: Mapping[str, Sequence[Mapping[str, Any]]], baseline: str
) -> list[dict[str, Any]]:
    """Means over seeds, with Student's intervals, and differences to the baseline, paired."""
    figures = {name: {key: [_figures(run)[key] for run in own] for key in _figures(own[0])}
               for name, own in found.items()}  # fmt: skip
    rows = []
    for name, own in figures.items():
        differences = {
            key: [a - b for a, b in zip(own[key], figures[baseline][key], strict=True)]
            for key in ("entropy", "lost")
        }
        rows.append({
            "name": name,
            **{key: over_seeds(values) for key, values in own.items()},
            **({} if name == baseline else
               {f"{key}_difference": over_seeds(d) for key, d in differences.items()}),
        })  # fmt: skip
    return rows


def _figures(run: Mapping[str, Any]) -> dict[str, float]:
    return {
        "entropy": run["epochs"]["entropy"][-1], "mixture": run["mixture"], "child": run["child"],
        "lost": run["mixture"] - run["child"],
    }  # fmt: skip


def markdown(rows: Sequence[Mapping[str, Any]], baseline: str) -> str:
    """Lay the means out."""
    columns = ("entropy", "mixture", "child", "lost")
    differences = ("entropy_difference", "lost_difference")
    return (
        "Entropy of the weights (nats), and accuracy of the mixture and of the child of its "
        "largest weights, at the end of training: means over seeds with Student's 95 % interval. "
        f"Differences are to {baseline}, paired over seeds.\n\n"
    ) + table(
        ["variant", *columns, *(f"{name.split('_')[0]} − {baseline}'s" for name in differences)],
        (
            [row["name"], *(cell(row[key]) for key in columns),
             *(cell(row.get(key), "+") for key in differences)]
            for row in rows
        ),
    )  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Train what is missing, and report."""
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = report_parser(__doc__)
    parser.add_argument("--plan", type=Path, required=True, help="YAML file of the trainings")
    parser.add_argument("--runs", type=Path, required=True, help="folder of the trainings")
    settings = parser.parse_args(arguments)
    try:
        plan = Plan.read(settings.plan)
    except (ValueError, FileNotFoundError) as error:
        parser.error(str(error))
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.WARNING)
    logging.getLogger("experiments").setLevel(logging.INFO)
    torch.set_num_threads(settings.threads)
    train_missing(plan, settings.runs)
    found = read_runs(plan, settings.runs)
    rows = summary(found, plan.baseline)
    text = markdown(rows, plan.baseline)
    print(text)
    theme, program = f"pruning_{settings.plan.stem}", "experiments.studies.pruning"
    plain = [{key: value if key == "name" else dataclasses.asdict(value)
              for key, value in row.items()} for row in rows]  # fmt: skip
    path, _ = write_report(theme, settings, arguments, {"rows": plain}, text, program=program)
    curves = {}
    for name, own in found.items():
        epochs = zip(*(run["epochs"]["entropy"] for run in own), strict=True)
        curves[name] = [over_seeds(entropies) for entropies in epochs]
    draw_curves(curves, path.with_suffix(""), first=1, below="epoch", beside="entropy (nats)")


if __name__ == "__main__":
    main()
