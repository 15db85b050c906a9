"""Find out whether a supernet ranks children as training them from scratch does.

::

    python -m experiments.rank_correlation --plan experiments/plans/bert_8x4.yml \
        --runs experiments/runs/bert_8x4 --threads 1

trains what the plan lists, one after the other, and writes the report. A child or a supernet that
is finished is never trained again: stop the study at any time and start the same command to go
on. Several such processes share the work, and the last one to end reports on all of it.
``--report`` only reports what there is.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

import torch

from experiments.benchmarks.reporting import add_report_options
from experiments.studies import report
from experiments.studies.plan import Plan
from experiments.studies.study import Study


def parse_args(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_report_options(parser)
    add = parser.add_argument
    add("--plan", type=Path, required=True, help="YAML file, see experiments/studies/plan.py")
    add("--runs", type=Path, required=True, help="folder of the trainings")
    add("--cache", type=Path, default=Path("experiments/runs/cache"))
    add("--report", action="store_true", help="train nothing")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Train what is missing, and report."""
    arguments = sys.argv[1:] if arguments is None else arguments
    settings = parse_args(arguments)
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.WARNING)
    logging.getLogger("experiments").setLevel(logging.INFO)
    torch.set_num_threads(settings.threads)
    study = Study(Plan.read(settings.plan), settings.runs, settings.cache)
    if not settings.report:
        study.work()
    if settings.report or not any(study.missing()):
        print(report.write(study, settings, arguments))


if __name__ == "__main__":
    main()
