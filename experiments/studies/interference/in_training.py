"""Find out how much adjacent children interfere while a supernet trains, by strategy.

::

    python -m experiments.studies.interference.in_training --plan experiments/plans/bert_8x4.yml \
        --runs experiments/runs/bert_8x4 --supernets spos magic_t --seeds 0 1 2 --threads 1

trains these supernets of the plan as ``experiments.studies.ranking`` does, now watched by
:class:`~nni_magic.analysis.during_training.LogInterference`, and reports the cosine of adjacent
children from epoch to epoch. That is what a method's way to draw children changes;
``experiments.studies.interference`` measures children that differ alike for all methods. Several
processes share the work, and the last one to end reports on all of it.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl

from experiments.benchmarks.reporting import table, write_report
from experiments.studies.cells import cell
from experiments.studies.command_line import (
    check_paired,
    check_supernets,
    open_study,
    study_parser,
)
from experiments.studies.curves import draw_curves
from experiments.studies.gathered import devices
from experiments.studies.measurements import Measurements, Record
from experiments.studies.study import Study
from nni_magic.analysis.during_training import LogInterference
from nni_magic.analysis.seeds import MeanInterval, over_seeds
from nni_magic.support.errors import check_choice, check_number, naming

Curves = Mapping[str, Mapping[int, np.ndarray]]  # supernet to seed to cosines, (epochs,)


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


class WatchedTrainings(Measurements):
    """Supernets of a plan trained under watch.

    Parameters
    ----------
    study
        Its supernets are trained again.
    settings
        The command line.

    Raises
    ------
    ValueError
        If the plan has no such supernets or seeds, or they cannot be compared over seeds.
    """

    def __init__(self, study: Study, settings: argparse.Namespace) -> None:
        plan = study.plan
        check_number("every", settings.every, at_least=1, at_most=plan.epoch_steps)
        check_supernets(plan, settings.supernets)
        for name in settings.supernets:
            for seed in settings.seeds or ():
                with naming(name):
                    check_choice("seed", seed, plan.supernets[name].seeds)
        seeds = {
            name: tuple(settings.seeds or plan.supernets[name].seeds)
            for name in settings.supernets
        }  # fmt: skip
        check_paired(seeds, settings.supernets[0])
        folder = settings.runs / "in_training"
        super().__init__(study, folder, seeds)
        self.settings = settings
        self.watched = Study(plan, folder, settings.cache, settings.data)

    def made_with(self, name: str) -> dict[str, Any]:
        return {**self.watched.made_supernet(name), "every": self.settings.every}

    def measure(self, name: str, seed: int) -> None:
        keep = Keep()
        callbacks = [LogInterference(self.settings.every), keep]
        trained = self.watched.train_supernet(name, seed, callbacks)
        self.save(name, seed, {
            "cosines": {str(step): cosine for step, cosine in keep.cosines.items()},
            "scores": trained["scores"],
            "device": trained["device"],
        })  # fmt: skip

    def by_epoch(self, name: str, record: Record) -> np.ndarray:
        """Mean cosine of every epoch of a supernet, ``(epochs,)``.

        Raises
        ------
        ValueError
            If an epoch has none, because adjacent children had nothing in common whenever it was
            to be measured.
        """
        plan = self.study.plan
        epochs = plan.supernets[name].steps // plan.epoch_steps
        cosines: list[list[float]] = [[] for _ in range(epochs)]
        for step, cosine in record["cosines"].items():
            cosines[(int(step) - 1) // plan.epoch_steps].append(cosine)
        for epoch, found in enumerate(cosines):
            if not found:
                raise ValueError(
                    f"{name}: every is {self.settings.every}; accepted are smaller numbers, as "
                    "adjacent children shared no candidate when they were measured in epoch "
                    f"{epoch}"
                )
        return np.array([np.mean(found) for found in cosines])

    def same_scores(self) -> list[bool]:
        """Whether scores are those of the supernets that were trained without watching."""
        return [
            unwatched["scores"] == record["scores"]
            for name, by_seed in self.found().items()
            for seed, record in by_seed.items()
            if (unwatched := self.study.read_supernet(name, seed))
        ]


def main(arguments: list[str] | None = None) -> None:
    """Train and measure what is missing, and report when nothing is."""
    arguments = sys.argv[1:] if arguments is None else arguments
    settings = parse_args(arguments)
    measurements = WatchedTrainings(open_study(settings), settings)
    measurements.work()
    if not any(measurements.missing()):
        print(write(measurements, arguments))


def write(measurements: WatchedTrainings, arguments: Sequence[str]) -> Path:
    """Write the report; gives the JSON's path."""
    settings, found = measurements.settings, measurements.found()
    cosines = {
        name: {seed: measurements.by_epoch(name, one) for seed, one in by_seed.items()}
        for name, by_seed in found.items()
    }
    means = {
        name: [over_seeds(epoch) for epoch in np.transpose(list(by_seed.values()))]
        for name, by_seed in cosines.items()
    }
    results = {
        "interference": found,
        "means": {name: [dataclasses.asdict(one) for one in of] for name, of in means.items()},
        "trained_on": devices(one for by_seed in found.values() for one in by_seed.values()),
    }
    text = markdown(cosines, means, settings.every)
    if same := measurements.same_scores():
        text += (
            f"\n\n{sum(same)} of {len(same)} supernets score all children as those trained "
            "without watching, to the last bit."
        )
    path, _ = write_report(
        f"interference_in_training_{settings.plan.stem}", settings, arguments, results, text,
        program="experiments.studies.interference.in_training",
    )  # fmt: skip
    draw_curves(
        means, path.with_suffix(""), first=1, below="epoch", beside="cosine of adjacent children"
    )
    return path


def markdown(cosines: Curves, means: Mapping[str, Sequence[MeanInterval]], every: int) -> str:
    """A table with a row for every supernet, the baseline first."""
    baseline = next(iter(cosines))
    rows = []
    for name, by_seed in cosines.items():
        whole = over_seeds([one.mean() for one in by_seed.values()])
        above = over_seeds([by_seed[i].mean() - cosines[baseline][i].mean() for i in by_seed])
        rows.append([
            name, len(by_seed), cell(whole), cell(means[name][0]), cell(means[name][-1]),
            "" if name == baseline else cell(above, "+"),
        ])  # fmt: skip
    header = ["supernet", "seeds", "cosine", "in the first epoch", "in the last",
              f"less {baseline}"]  # fmt: skip
    return (
        "Cosine between the gradients of adjacent children on the candidates that they share, "
        f"every {every} steps of the training, mean over epochs; higher is less "
        "interference. In brackets Student's 95 % interval over seeds.\n\n" + table(header, rows)
    )


if __name__ == "__main__":
    main()
