"""Find out whether a supernet favours the children near the last one that it trained.

::

    python -m experiments.studies.ranking.recency --plan experiments/plans/bert_8x4.yml \
        --runs experiments/runs/bert_8x4 --supernets magic_t --threads 1

A walk in small steps ends among neighbours. For supernets that ``experiments.studies.ranking`` has
trained, random children are scored at every distance from the supernet's last child. The same
children are scored on the control, the supernet of the same seed that was trained without a walk.
The difference thus does not show that the last child happens to be a good one.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from nni.mutable import Sample

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
from nni_magic.analysis import seeds
from nni_magic.children import samples
from nni_magic.support.errors import check_count

LABEL = "loss less the control's (nats)"


def parse_args(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = study_parser(__doc__)
    add = parser.add_argument
    add("--supernets", nargs="+", required=True, help="names of the plan")
    add("--control", default="spos")
    add("--children", type=int, default=24, help="at every distance")
    return parser.parse_args(arguments)


class RecencyMeasurements(Measurements):
    """Losses around the last child of supernets, less those on their controls.

    Parameters
    ----------
    study
        Its supernets are trained already.
    settings
        The command line.

    Raises
    ------
    ValueError
        If the plan has no such supernets, their seeds cannot be paired with the control's, or a
        number is too small.
    """

    def __init__(self, study: Study, settings: argparse.Namespace) -> None:
        check_count("children", settings.children)
        check_count("seed", settings.seed, at_least=0)
        planned, names = study.plan.supernets, (settings.control, *settings.supernets)
        check_supernets(study.plan, names)
        check_paired({name: planned[name].seeds for name in names}, settings.control)
        of = {name: planned[name].seeds for name in settings.supernets}
        super().__init__(study, settings.runs / "recency", of)
        self.settings = settings

    def made_with(self, name: str) -> dict[str, Any]:
        return {
            "measured": self.study.made_supernet(name),
            "control": self.study.made_supernet(self.settings.control),
            "children": self.settings.children,
            "seed": self.settings.seed,
        }

    def work(self) -> None:
        for name, seed in self.missing():
            for one in (name, self.settings.control):
                self.study.weights(one, seed)
        super().work()

    def measure(self, name: str, seed: int) -> None:
        study, both = self.study, (name, self.settings.control)
        last, _ = (study.trained(one, seed)["last_child"] for one in both)
        candidates = samples.candidates(study.domain.make_space())
        rng = np.random.default_rng([self.settings.seed, seed])
        around = children_around(last, candidates, self.settings.children, rng)
        children = [child for at in around.values() for child in at]
        own, control = (
            np.array(study.score(study.weights(one, seed), children)) for one in both
        )
        ends = np.cumsum([len(at) for at in around.values()])[:-1]
        self.save(name, seed, {
            "difference": [float(part.mean()) for part in np.split(own - control, ends)],
            "own": [part.tolist() for part in np.split(own, ends)],
            "control": [part.tolist() for part in np.split(control, ends)],
        })  # fmt: skip


def children_around(
    last: Sample, candidates: samples.Candidates, n: int, rng: np.random.Generator
) -> dict[int, list[Sample]]:
    """Draw n children at every distance from a child; at distance 0 it is the child itself.

    Examples
    --------
    >>> found = children_around({"a": 0}, {"a": [0, 1]}, 2, np.random.default_rng(0))
    >>> found
    {0: [{'a': 0}], 1: [{'a': 1}, {'a': 1}]}
    """
    around = {0: [dict(last)]}
    for distance in range(1, len(candidates) + 1):
        around[distance] = [samples.neighbour(last, candidates, rng, k=distance) for _ in range(n)]
    return around


def over_seeds(found: Mapping[int, Record]) -> list[seeds.MeanInterval]:
    """Mean difference over seeds with its interval, at every distance."""
    by_seed = np.array([one["difference"] for one in found.values()])
    return [seeds.over_seeds(column) for column in by_seed.T]


def near_less_far(found: Mapping[int, Record]) -> tuple[int, seeds.MeanInterval]:
    """Compare the children of the nearer half of the distances with those farther away.

    Returns
    -------
    tuple
        The largest distance of the nearer half; and by how much the mean difference from the
        control is greater up to there than beyond. The child at distance 0 is left out.
    """
    by_seed = np.array([one["difference"] for one in found.values()])
    half = by_seed.shape[1] // 2
    near, far = by_seed[:, 1 : half + 1].mean(1), by_seed[:, half + 1 :].mean(1)
    return half, seeds.over_seeds(near - far)


def main(arguments: list[str] | None = None) -> None:
    """Measure what is missing, and report when nothing is."""
    arguments = sys.argv[1:] if arguments is None else arguments
    settings = parse_args(arguments)
    measurements = RecencyMeasurements(open_study(settings), settings)
    measurements.work()
    if not any(measurements.missing()):
        print(write(measurements, arguments))


def write(measurements: RecencyMeasurements, arguments: Sequence[str]) -> Path:
    """Write the report; gives the JSON's path."""
    settings, found = measurements.settings, measurements.found()
    means = {name: over_seeds(by_seed) for name, by_seed in found.items()}
    results = {
        "recency": found,
        "means": {name: [dataclasses.asdict(one) for one in of] for name, of in means.items()},
        "trained_on": devices(
            measurements.study.trained(name, seed) for name, seed in measurements.supernets()
        ),
    }
    rows = [
        [distance, *(cell(curve[distance], "+") for curve in means.values())]
        for distance in range(len(next(iter(means.values()))))
    ]
    text = (
        f"Mean {LABEL}, by the number of operators that differ from the last child trained; "
        f"negative: better than on {settings.control}. Student's 95 % interval over seeds; "
        f"{settings.children} children at every distance but 0, where there is one, and seed.\n\n"
        + table(["distance", *means], rows)
        + "".join(_contrast_line(name, *near_less_far(by_seed)) for name, by_seed in found.items())
    )
    path, _ = write_report(
        f"recency_{settings.plan.stem}", settings, arguments, results, text,
        program="experiments.studies.ranking.recency",
    )  # fmt: skip
    draw_curves(
        means, path.with_suffix(""), first=0,
        below="operators that differ from the last child", beside=LABEL,
    )  # fmt: skip
    return path


def _contrast_line(name: str, half: int, contrast: seeds.MeanInterval) -> str:
    return (
        f"\n\n{name}: at distances 1 to {half} less at greater ones {cell(contrast, '+')} nats, "
        "seed by seed; negative where the children near the last one are favoured."
    )


if __name__ == "__main__":
    main()
