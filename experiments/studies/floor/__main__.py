"""Compare mean scores of children with those of SPOS: whether a default does harm.

Trains four small spaces with every strategy at equal optimizer steps, scores the same random
children with each supernet, and compares the means with those of SPOS, seed by seed:

    python -m experiments.studies.floor --runs experiments/records/floor

Several processes may run it at once; what is in the folder already is not trained again.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from experiments.benchmarks.reporting import report_parser, write_report
from experiments.studies.floor.report import compared, markdown
from experiments.studies.floor.trainings import VARIANTS, train_missing


def main(arguments: Sequence[str] | None = None) -> None:
    """Train what is missing, and report."""
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = report_parser(__doc__)
    parser.add_argument("--runs", type=Path, required=True, help="folder of the trainings")
    parser.add_argument("--seeds", type=int, default=20, help="at most, 2 or more")
    settings = parser.parse_args(arguments)
    if settings.seeds < 2:
        parser.error(f"seeds is {settings.seeds}; accepted are at least 2")
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.WARNING)
    logging.getLogger("experiments").setLevel(logging.INFO)
    torch.set_num_threads(settings.threads)
    seeds = range(settings.seeds)
    train_missing(settings.runs, VARIANTS, seeds)
    rows = compared(settings.runs, VARIANTS, seeds)
    text = markdown(rows)
    print(text)
    program = "experiments.studies.floor"
    write_report("floor", settings, arguments, {"rows": rows}, text, program=program)


if __name__ == "__main__":
    main()
