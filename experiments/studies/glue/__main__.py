"""Compare children on GLUE's tasks: found ones, BERT's layers, random ones, of equal parameters.

Runs ``nni-magic glue`` with every seed, at a size for two CPU cores:

    python -m experiments.studies.glue --records experiments/records/glue --work runs/glue_study \
        --corpus my_text --data glue --seeds 5

What is recorded is not trained again, and what was killed goes on. ``--gather`` records what
another process has done so far, and reports.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from experiments.benchmarks.reporting import report_parser, write_report
from experiments.studies.glue.report import compared, markdown
from experiments.studies.glue.trainings import cut_data, gather, read_records, train_missing
from nni_magic.tasks.language.glue import GLUE

TASKS = ("CoLA", "SST-2", "MRPC", "STS-B", "RTE")


def main(arguments: Sequence[str] | None = None) -> None:
    """Train what is missing, and report."""
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = report_parser(__doc__)
    add = parser.add_argument
    add("--records", type=Path, required=True, help="folder of the records")
    add("--work", type=Path, required=True, help="folder of the trainings")
    add("--corpus", type=Path, required=True, help="text to pre-train on")
    add("--data", type=Path, required=True, help="folder of the tasks in GLUE's layout")
    add("--teacher", type=Path, help="folder of a model; adds children that imitate it")
    add("--tasks", nargs="+", choices=list(GLUE), default=TASKS)
    add("--rows", type=int, default=4000, help="rows of a task to train on, at most")
    add("--seeds", type=int, default=5, help="number of seeds, 2 or more")
    add("--gather", action="store_true", help="train nothing")
    settings = parser.parse_args(arguments)
    if settings.seeds < 2:
        parser.error(f"seeds is {settings.seeds}; accepted are at least 2")
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.WARNING)
    logging.getLogger("experiments").setLevel(logging.INFO)
    torch.set_num_threads(settings.threads)
    seeds, tasks = range(settings.seeds), settings.tasks
    if settings.gather:
        for seed in seeds:
            gather(settings.work, tasks, seed, settings.records)
    else:
        data = settings.work / f"data_{settings.rows}"
        cut_data(settings.data, data, tasks, settings.rows)
        train_missing(
            settings.work, settings.corpus, data, tasks, seeds, settings.records, settings.teacher
        )
    rows = compared(read_records(settings.records, tasks, seeds), tasks)
    text = markdown(rows)
    print(text)
    program = "experiments.studies.glue"
    write_report("glue", settings, arguments, {"rows": rows}, text, program=program)


if __name__ == "__main__":
    main()
