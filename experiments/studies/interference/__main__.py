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

The report begins with the mean loss of random children, as the gradients of a supernet that has
learned nothing yet say nothing about its method.
"""

from __future__ import annotations

import argparse
import sys

from experiments.studies.command_line import open_study, study_parser
from experiments.studies.interference.measurements import InterferenceMeasurements
from experiments.studies.interference.report import write


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


def main(arguments: list[str] | None = None) -> None:
    """Train and measure what is missing, and report when nothing is."""
    arguments = sys.argv[1:] if arguments is None else arguments
    settings = parse_args(arguments)
    study = open_study(settings)
    measurements = InterferenceMeasurements(study, settings)
    if not settings.report:
        if settings.supernets is not None:
            for name, seed in measurements.supernets():
                study.trained(name, seed)
        for name, seed in measurements.missing():
            if study.read_supernet(name, seed):
                study.weights(name, seed)
        if settings.supernets is None:
            if any(study.missing_supernets()):
                measurements.try_out()
            study.work()
        measurements.work()
    if settings.report or not any(measurements.missing()):
        print(write(measurements, arguments))


if __name__ == "__main__":
    main()
