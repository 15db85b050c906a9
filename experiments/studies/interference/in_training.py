"""Find out how much adjacent children interfere while a supernet trains, by strategy.

::

    python -m experiments.studies.interference.in_training --plan experiments/plans/bert_8x4.yml \
        --runs experiments/runs/bert_8x4 --supernets spos magic_t --seeds 0 1 2 --threads 1

trains these supernets of the plan as ``experiments.studies.ranking`` does, now watched by
:class:`~nni_magic.analysis.during_training.LogInterference`, and reports the cosine of adjacent
children from epoch to epoch. That is what a method's way to draw children changes;
``experiments.studies.interference`` measures children that differ alike for all methods. Several processes
share the work, and the last one to end reports on all of it.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch

from experiments.benchmarks.reporting import table, write_report
from experiments.studies.cells import cell
from experiments.studies.command_line import check_paired, check_supernets, study_parser
from experiments.studies.gathered import devices
from experiments.studies.plan import Plan
from experiments.studies.study import Study, claimed
from nni_magic.analysis import figures
from nni_magic.analysis.during_training import LogInterference
from nni_magic.analysis.seeds import MeanInterval, over_seeds
from nni_magic.programs.made_with import read_result
from nni_magic.support.files import write_json

Found = Mapping[str, Mapping[int, Mapping[str, Any]]]  # supernet to seed to its record


def parse_args(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = study_parser(__doc__)
    add = parser.add_argument
    add("--supernets", nargs="+", required=True, help="names of the plan, the baseline first")
    add("--seeds", type=int, nargs="+", help="of the plan; by default all")
    add("--every", type=int, default=20, help="optimizer steps between measurements")
    return parser.parse_args(arguments)


class Keep(pl.Callback):
    """Keeps what ``LogInterference`` logs, as the callback before this one."""

    def __init__(self) -> None:
        self.cosines: dict[int, float] = {}

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Take the cosine of this step, where there is one."""
        metrics = trainer.callback_metrics
        if metrics.pop("interference/shared_candidates", 0):
            self.cosines[trainer.global_step] = float(metrics["interference/adjacent_cosine"])


class Measurements:
    """The supernets of a plan trained under watch, a file for each.

    Parameters
    ----------
    settings
        The command line.

    Raises
    ------
    ValueError
        If the plan has no such supernets or seeds, or they cannot be compared over seeds.
    """

    def __init__(self, settings: argparse.Namespace) -> None:
        self.settings = settings
        plan = Plan.read(settings.plan)
        self.study = Study(plan, settings.runs, settings.cache, settings.data)
        self.watched = Study(plan, settings.runs / "in_training", settings.cache, settings.data)
        if not 1 <= settings.every <= plan.epoch_steps:
            raise ValueError(f"every is {settings.every}; accepted are 1 to {plan.epoch_steps}")
        check_supernets(plan, settings.supernets)
        for name in settings.supernets:
            for seed in settings.seeds or ():
                if seed not in (accepted := plan.supernets[name].seeds):
                    raise ValueError(
                        f"seeds has {seed}; accepted for {name} are {', '.join(map(str, accepted))}"
                    )
        self.seeds = {
            name: tuple(settings.seeds or plan.supernets[name].seeds)
            for name in settings.supernets
        }  # fmt: skip
        check_paired(self.seeds, settings.supernets[0])

    def file(self, name: str, seed: int) -> Path:
        """Where the measurements of a supernet lie."""
        return self.watched.output / f"{name}_seed{seed}.json"

    def read(self, name: str, seed: int) -> dict[str, Any] | None:
        """What is measured of a supernet.

        Raises
        ------
        ValueError
            If it was measured with other settings.
        """
        return read_result(self.file(name, seed), self.made_with(name))

    def made_with(self, name: str) -> dict[str, Any]:
        """What the measurements depend on, see :mod:`experiments.studies.records`."""
        return {**self.watched.made_supernet(name), "every": self.settings.every}

    def work(self) -> None:
        """Train and measure what is missing and claimed by no other process."""
        for name, seeds in self.seeds.items():
            for seed in seeds:
                with claimed(self.file(name, seed)) as mine:
                    if mine and self.read(name, seed) is None:
                        write_json(self.file(name, seed), self.measure(name, seed))

    def measure(self, name: str, seed: int) -> dict[str, Any]:
        """Train a supernet under watch."""
        keep = Keep()
        callbacks = [LogInterference(self.settings.every), keep]
        trained = self.watched.train_supernet(name, seed, callbacks)
        return {
            "made_with": self.made_with(name),
            "cosines": {str(step): cosine for step, cosine in keep.cosines.items()},
            "scores": trained["scores"],
            "device": trained["device"],
        }

    def found(self) -> Found | None:
        """All measurements, or nothing as long as one is missing."""
        found: dict[str, dict[int, Any]] = {}
        for name, seeds in self.seeds.items():
            for seed in seeds:
                if (one := self.read(name, seed)) is None:
                    return None
                found.setdefault(name, {})[seed] = one
        return found

    def by_epoch(self, name: str, one: Mapping[str, Any]) -> np.ndarray:
        """Mean cosine of every epoch of a supernet, ``(epochs,)``.

        Raises
        ------
        ValueError
            If an epoch has none, because adjacent children had nothing in common whenever it was
            to be measured.
        """
        plan = self.watched.plan
        epochs = plan.supernets[name].steps // plan.epoch_steps
        cosines: list[list[float]] = [[] for _ in range(epochs)]
        for step, cosine in one["cosines"].items():
            cosines[(int(step) - 1) // plan.epoch_steps].append(cosine)
        for epoch, found in enumerate(cosines):
            if not found:
                raise ValueError(
                    f"{name}: adjacent children shared no candidate when they were measured in "
                    f"epoch {epoch}; every is {self.settings.every}, and less measures more"
                )
        return np.array([np.mean(found) for found in cosines])


def mean_of(found: Mapping[int, np.ndarray]) -> list[MeanInterval]:
    """Mean over seeds of every epoch."""
    return [over_seeds(column) for column in np.transpose(list(found.values()))]


def main(arguments: list[str] | None = None) -> None:
    """Train and measure what is missing, and report when nothing is."""
    arguments = sys.argv[1:] if arguments is None else arguments
    settings = parse_args(arguments)
    torch.set_num_threads(settings.threads)
    measurements = Measurements(settings)
    measurements.work()
    if found := measurements.found():
        print(write(measurements, found, arguments))


def write(measurements: Measurements, found: Found, arguments: list[str]) -> Path:
    """Write the report; gives the JSON's path."""
    settings = measurements.settings
    curves = {
        name: {seed: measurements.by_epoch(name, one) for seed, one in by_seed.items()}
        for name, by_seed in found.items()
    }
    baseline = curves[settings.supernets[0]]
    rows = []
    for name, by_seed in curves.items():
        whole = over_seeds([one.mean() for one in by_seed.values()])
        above = over_seeds([by_seed[seed].mean() - baseline[seed].mean() for seed in by_seed])
        ends = [over_seeds([one[epoch] for one in by_seed.values()]) for epoch in (0, -1)]
        rows.append([
            name, len(by_seed), cell(whole), *map(cell, ends),
            "" if by_seed is baseline else cell(above, "+"),
        ])  # fmt: skip
    header = ["supernet", "seeds", "cosine", "in the first epoch", "in the last",
              f"less {settings.supernets[0]}"]  # fmt: skip
    text = (
        "Cosine between the gradients of adjacent children on the candidates that they share, "
        f"every {settings.every} steps of the training, mean over epochs; higher is less "
        "interference. In brackets Student's 95 % interval over seeds.\n\n" + table(header, rows)
    )
    if again := _same_scores(measurements, found):
        text += (
            f"\n\n{sum(again)} of {len(again)} supernets score all children as those trained "
            "without watching, to the last bit."
        )
    means = {name: mean_of(by_seed) for name, by_seed in curves.items()}
    summary = {name: [dataclasses.asdict(one) for one in curve] for name, curve in means.items()}
    path, _ = write_report(
        f"interference_in_training_{settings.plan.stem}", settings, arguments,
        {"interference": found, "means": summary,
         "trained_on": devices(one for by_seed in found.values() for one in by_seed.values())},
        text,
        program="experiments.studies.interference.in_training",
    )  # fmt: skip
    figure, [panel] = figures.panels_of(1, 5.5, 3.5)
    for i, (name, curve) in enumerate(means.items()):
        epochs = range(1, len(curve) + 1)
        figures.draw_means(panel, epochs, curve, label=name, **figures.style(i))
    figures.tidy(panel)
    figures.label_axes(figure, "epoch", "cosine of adjacent children")
    figures.write_legend(figure, [panel])
    figures.save(figure, path.with_suffix(""))
    return path


def _same_scores(measurements: Measurements, found: Found) -> list[bool]:
    """Whether scores are those of the supernets that were trained without watching."""
    return [
        unwatched["scores"] == one["scores"]
        for name, by_seed in found.items()
        for seed, one in by_seed.items()
        if (unwatched := measurements.study.read_supernet(name, seed))
    ]


if __name__ == "__main__":
    main()
