"""Measure the interference between children of trained supernets, by strategy.

::

    python -m experiments.studies.interference --plan experiments/plans/analysis_12x6.yml \
        --runs experiments/runs/analysis_12x6 --shared-layers 1 3 5 7 9 11 \
        --differences 1 2 4 6 8 10 --threads 1

trains the plan's supernets where they are missing, measures every one of them for all numbers of
differences that fit behind a shared layer, and writes the report. What is done stays done: stop it
at any time and start the same command to go on. Several such processes share the work, and the last
one to end reports on all of it. ``--report`` only reports what there is.

``--supernets`` measures some supernets of a plan whose trainings ``experiments.studies.ranking``
has done. Where children have a ground truth, the report also shows Kendall's tau against the
cosine.

The report begins with the loss of random children: gradients of a supernet that has learned nothing
yet tell nothing of its method.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from nni.nas.evaluator.pytorch import Lightning
from torch.utils.data import DataLoader, Subset

from experiments.benchmarks.reporting import table, write_report
from experiments.studies.command_line import check_supernets, study_parser
from experiments.studies.gathered import devices
from experiments.studies.interference import tau_and_cosine
from experiments.studies.interference.findings import curves, markdown
from experiments.studies.plan import Plan
from experiments.studies.study import NEVER, Study, claimed
from nni_magic.analysis import plots
from nni_magic.analysis.interference import InterferenceStudy, interference_study
from nni_magic.children import samples
from nni_magic.programs.made_with import read_result
from nni_magic.samplers.base import UniformSampler
from nni_magic.supernet.checkpoint import load_supernet
from nni_magic.support.errors import check_count
from nni_magic.support.files import write_json

_logger = logging.getLogger(__name__)

N_SCORED = 16
"""Random children whose mean loss says how far a supernet is trained."""


def parse_args(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = study_parser(__doc__)
    add = parser.add_argument
    add("--shared-layers", type=int, nargs="+", required=True)
    add("--differences", type=int, nargs="+", required=True)
    add("--repetitions", type=int, default=10)
    add("--rows", type=int, default=128, help="training sequences that make the batch")
    add("--supernets", nargs="+", help="names of the plan, trained before; by default all")
    add("--report", action="store_true", help="train and measure nothing")
    return parser.parse_args(arguments)


class Measurements:
    """The interference studies of a plan's supernets, a file for each supernet.

    Parameters
    ----------
    study
        Trains the supernets.
    settings
        The command line.

    Raises
    ------
    ValueError
        If the plan has no such supernets, the space no such layers, the data fewer rows, or a
        number is too small.
    """

    def __init__(self, study: Study, settings: argparse.Namespace) -> None:
        self.study = study
        self.settings = settings
        for name, least in (("rows", 1), ("repetitions", 2), ("seed", 0)):
            check_count(name, getattr(settings, name), at_least=least)
        if settings.rows > (available := len(study.domain.data.train)):
            raise ValueError(f"rows is {settings.rows}; the training data have {available}")
        check_supernets(study.plan, settings.supernets or ())
        n_layers = len(samples.candidates(study.domain.make_space()))
        self.wanted = [
            (j, m) for j in settings.shared_layers for m in settings.differences
            if j + m <= n_layers
        ]  # fmt: skip
        if not self.wanted:
            raise ValueError(
                f"shared_layers is {settings.shared_layers} and differences is "
                f"{settings.differences}: none fits into {n_layers} layers"
            )

    def file(self, name: str, seed: int) -> Path:
        """Where the study of a supernet lies."""
        return self.study.output / "interference" / f"{name}_seed{seed}.json"

    def supernets(self) -> Iterator[tuple[str, int]]:
        """Names and seeds of the supernets to measure."""
        planned = self.study.plan.supernets
        for name in self.settings.supernets or planned:
            for seed in planned[name].seeds:
                yield name, seed

    def made_with(self, name: str) -> dict[str, Any]:
        """What a measurement depends on, see :mod:`experiments.studies.records`."""
        chosen = vars(self.settings)
        measured = {key: chosen[key] for key in ("rows", "repetitions", "seed")}
        return {**self.study.made_supernet(name), "interference": measured}

    def read(self, name: str, seed: int) -> InterferenceStudy | None:
        """What is measured of a supernet.

        Raises
        ------
        ValueError
            If it was measured with other settings.
        """
        record = read_result(self.file(name, seed), self.made_with(name))
        return None if record is None else InterferenceStudy.from_json(record)

    def missing(self) -> Iterator[tuple[str, int]]:
        """Supernets that are not measured in full yet."""
        for name, seed in self.supernets():
            found = self.read(name, seed)
            whole = found is not None and found.matrices.keys() >= set(self.wanted)
            if not whole or self.mean_loss(name, seed) is None:
                yield name, seed

    def mean_loss(self, name: str, seed: int) -> float | None:
        """Mean loss of random children with a supernet's weights, if that is measured."""
        record = read_result(self.file(name, seed), self.made_with(name))
        return record and record.get("mean_loss")

    def batches(self, evaluator: Lightning) -> list[Any]:
        """The first rows of the training data; images are augmented by the command line's seed."""
        loader = DataLoader(
            Subset(self.study.domain.data.train, range(self.settings.rows)),
            self.study.plan.training.batch_size,
            collate_fn=evaluator.train_dataloaders.collate_fn,
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.settings.seed)
            return list(loader)

    def measure(self, name: str, seed: int) -> None:
        """Measure what is missing of a supernet, and save it setting by setting."""
        domain = self.study.domain
        supernet = load_supernet(self.study.checkpoint(name, seed), domain.make_space())
        evaluator = self.study.evaluator(self.study.plan.supernets[name].steps, seed, {})
        go_on = partial(
            interference_study, supernet, evaluator, self.batches(evaluator),
            repetitions=self.settings.repetitions, seed=self.settings.seed,
        )  # fmt: skip
        if (loss := self.mean_loss(name, seed)) is None:
            sampler = UniformSampler(supernet, seed=self.settings.seed)
            children = [sampler.next() for _ in range(N_SCORED)]
            loss = float(np.mean(self.study.score(self.study.checkpoint(name, seed), children)))
        record = {"made_with": self.made_with(name), "mean_loss": loss}
        found = self.read(name, seed)
        if found is not None:
            write_json(self.file(name, seed), {**record, **found.to_json()})
        for j, m in self.wanted:
            if found is None or (j, m) not in found.matrices:
                found = go_on(shared_layers=[j], differences=[m], done=found)
                write_json(self.file(name, seed), {**record, **found.to_json()})
                _logger.info(
                    "%s, seed %d, layer %d, %d differences: %.3f",
                    name, seed, j, m, found.mean_cosine(j, m),
                )  # fmt: skip

    def try_out(self) -> None:
        """Measure once with untrained weights: what cannot be measured shows before any training.

        Raises
        ------
        ValueError
            If the space is no chain of choice blocks with the same candidates.
        """
        evaluator = self.study.evaluator(NEVER, 0, {})
        j, m = self.wanted[0]
        interference_study(
            self.study.domain.make_space(), evaluator, self.batches(evaluator)[:1],
            shared_layers=[j], differences=[m], repetitions=2, seed=0,
        )  # fmt: skip

    def found(self) -> dict[str, dict[int, InterferenceStudy]]:
        """Name to seed to study, of the supernets that are measured in full."""
        missing = set(self.missing())
        studies: dict[str, dict[int, InterferenceStudy]] = {}
        for name, seed in self.supernets():
            if (name, seed) not in missing and (study := self.read(name, seed)):
                studies.setdefault(name, {})[seed] = study
        return studies


def write(measurements: Measurements, arguments: list[str]) -> Path:
    """Write the report; gives the JSON's path.

    Raises
    ------
    ValueError
        If no supernet is measured in full.
    """
    settings, studies = measurements.settings, measurements.found()
    if not studies:
        raise ValueError(f"no supernet in {str(settings.runs)!r} is measured in full yet")
    record = {
        name: {str(seed): study.to_json() for seed, study in by_seed.items()}
        for name, by_seed in studies.items()
    }
    taus = tau_and_cosine.measured_taus(measurements.study, studies)
    losses = {
        name: {str(seed): cast(float, measurements.mean_loss(name, seed)) for seed in by_seed}
        for name, by_seed in studies.items()
    }
    trained_on = devices(
        measurements.study.trained(name, seed) for name in studies for seed in studies[name]
    )
    text = f"{_loss_table(losses)}\n\n{markdown(studies, measurements.wanted)}"
    if taus:
        text += "\n\n" + tau_and_cosine.markdown(studies, measurements.wanted, taus)
    path, _ = write_report(
        f"interference_{settings.plan.stem}", settings, arguments,
        {"interference": record, "mean_loss": losses, "kendall_tau": taus,
         "trained_on": trained_on}, text,
        program="experiments.studies.interference",
    )  # fmt: skip
    stem = path.with_suffix("")
    if taus:
        tau_and_cosine.draw(studies, measurements.wanted, taus, stem)
    by_layer: dict[int, list[int]] = {}
    for j, m in measurements.wanted:
        by_layer.setdefault(j, []).append(m)
    plots.cosine_by_difference(
        {f"shared layer {j}": curves(studies, j, ms) for j, ms in by_layer.items()}, stem
    )
    j, m = measurements.wanted[0]
    first = {
        f"{name}, seed {seed}\nj = {j}, m = {m}": study
        for name, by_seed in studies.items()
        for seed, study in list(by_seed.items())[:1]
    }
    plots.cosine_heatmap(
        {title: study.mean_matrix(j, m) for title, study in first.items()},
        next(iter(first.values())).candidates,
        stem.with_name(f"{stem.name}_matrices"),
    )
    return path


def _loss_table(losses: Mapping[str, Mapping[str, float]]) -> str:
    rows = [
        [name, ", ".join(by_seed), f"{np.mean(of := list(by_seed.values())):.3f}",
         f"{min(of):.3f} to {max(of):.3f}"]
        for name, by_seed in losses.items()
    ]  # fmt: skip
    header = ["supernet", "seeds", f"mean loss of {N_SCORED} random children (nats)", "range"]
    return table(header, rows)


def main(arguments: list[str] | None = None) -> None:
    """Train and measure what is missing, and report."""
    arguments = sys.argv[1:] if arguments is None else arguments
    settings = parse_args(arguments)
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.WARNING)
    for name in ("experiments", __name__):
        logging.getLogger(name).setLevel(logging.INFO)
    torch.set_num_threads(settings.threads)
    study = Study(Plan.read(settings.plan), settings.runs, settings.cache, settings.data)
    measurements = Measurements(study, settings)
    if not settings.report:
        if settings.supernets is None:
            if any(study.missing_supernets()):
                measurements.try_out()
            study.work()
        else:
            for name, seed in measurements.supernets():
                study.trained(name, seed)
        for name, seed in measurements.missing():
            with claimed(measurements.file(name, seed)) as mine:
                # Another process may still train the supernet, and then measures it, too.
                if mine and study.read_supernet(name, seed) is not None:
                    measurements.measure(name, seed)
    if settings.report or not any(measurements.missing()):
        print(write(measurements, arguments))


if __name__ == "__main__":
    main()
