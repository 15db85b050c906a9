"""Find out whether a supernet ranks children as training them from scratch does.

::

    python -m experiments.studies.ranking --plan experiments/plans/bert_8x4.yml \
        --runs experiments/runs/bert_8x4 --threads 1

trains what the plan lists, one after the other, and writes the report. A child or a supernet that
is finished is never trained again: stop the study at any time and start the same command to go
on. Several such processes share the work, and the last one to end reports on all of it.
``--report`` only reports what there is.
"""

from __future__ import annotations

import argparse
import sys

from experiments.studies.command_line import open_study, study_parser
from experiments.studies.measurements import Measurements
from experiments.studies.ranking import report
from experiments.studies.ranking.compared import Compared
from experiments.studies.ranking.found import FoundChildren
from experiments.studies.ranking.halving import Halvings
from experiments.studies.ranking.searched import Searched
from experiments.studies.ranking.zero_costs import ZeroCosts
from experiments.studies.study import Study


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
    compared = [Compared(study)] if study.plan.comparison else []
    searches = [Searched(study), Halvings(study)] if study.plan.search else []
    found = FoundChildren(study, searches)
    zero_costs = ZeroCosts(study)
    stages: list[Study | Measurements | FoundChildren | ZeroCosts]
    stages = [zero_costs, study, *compared, *searches, found]
    if not settings.report:
        for stage in stages:
            stage.work()
    if settings.report or not any(any(stage.missing()) for stage in stages):
        measured = compared[0].found() if compared else {}
        print(report.write(study, settings, arguments, measured, found.records()))


if __name__ == "__main__":
    main()
