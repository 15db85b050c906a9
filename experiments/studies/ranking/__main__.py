"""Find out whether a supernet ranks children as training them from scratch does.

::

    python -m experiments.studies.ranking --plan experiments/plans/bert_8x4.yml \
        --runs experiments/runs/bert_8x4 --threads 1

scores the plan's children before their training, trains them and then the supernets, one after the
other, measures and searches these if the plan says so, trains what is found, and writes the report.
What is finished is never done again: stop the study at any time and start the same command to go
on. Several such processes share the work, and the last one to end reports on all of it.
``--report`` only reports what there is.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from typing import Protocol

from experiments.studies.command_line import open_study, study_parser
from experiments.studies.measurements import Measurements
from experiments.studies.ranking import report
from experiments.studies.ranking.cosines import Cosines
from experiments.studies.ranking.found import FoundChildren
from experiments.studies.ranking.halving import Halvings
from experiments.studies.ranking.memory import Memory
from experiments.studies.ranking.searched import Searched
from experiments.studies.ranking.times import Times
from experiments.studies.ranking.zero_costs import ZeroCosts


class Stage(Protocol):
    """A part of the work of a study."""

    def missing(self) -> Iterator[object]:
        """What is not done yet."""

    def work(self) -> None:
        """Do what no other process has claimed."""


def parse_args(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = study_parser(__doc__)
    parser.add_argument("--report", action="store_true", help="train nothing")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Train what is missing, and report."""
    arguments = sys.argv[1:] if arguments is None else arguments
    settings = parse_args(arguments)
    study = open_study(settings)
    beside: dict[str, Measurements | FoundChildren] = {}
    if study.plan.comparison:
        beside |= {"times": Times(study), "memory": Memory(study), "cosines": Cosines(study)}
    searches: list[Measurements] = []
    if study.plan.search:
        searches = [Searched(study), Halvings(study)]
        beside["searched"] = FoundChildren(study, searches)
    stages: list[Stage] = [ZeroCosts(study), study, *searches, *beside.values()]
    if not settings.report:
        for stage in stages:
            stage.work()
    if settings.report or not any(any(stage.missing()) for stage in stages):
        found = {name: one.found() for name, one in beside.items()}
        print(report.write(study, settings, arguments, found))


if __name__ == "__main__":
    main()
