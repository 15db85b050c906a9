"""How many times as fast children are scored in several processes as in one.

::

    python -m experiments.benchmarks.scoring_processes

Both sides are :class:`nni_magic.search.ChildEvaluator`, warm, with one thread a process, on the
same children of one BERT supernet and the same held-out text, in turns. Their scores must be the
same to the bit. On a machine that does other work the ratio of the times says how much of it the
processes were given; see the load average. So processor time is compared as well: that of both
sides, and of the process that forks, which is what the forks cannot share.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from nni.mutable import Sample

from experiments.benchmarks.pairs import alternate, ratios, summarise, text, verdict
from experiments.benchmarks.reporting import report_parser, run_benchmark, table, usable_cores
from experiments.benchmarks.scored_sides import Losses, Setting, bert_setting, populations
from nni_magic.search import ChildEvaluator

TARGET = 1.8
"""With two processes on two cores."""


def parse_args(arguments: list[str]) -> argparse.Namespace:
    """Read the settings."""
    parser = report_parser(__doc__)
    parser.set_defaults(threads=1)
    add = parser.add_argument
    add("--processes", type=int, default=usable_cores())
    add("--preset", default="tiny", help="of search_spaces.BertSpace")
    add("--corpus", default="sotu")
    add("--cache", type=Path, default=Path("experiments/runs/cache"))
    add("--layers", type=int, default=12)
    add("--random-children", type=int, default=300)
    add("--generation", type=int, default=50)
    add("--batch-size", type=int, default=16, help="sequences; one batch makes a score")
    add("--repetitions", type=int, default=5, help="pairs")
    return parser.parse_args(arguments)


class Side:
    """An evaluator with a number of processes."""

    def __init__(self, setting: Setting, processes: int) -> None:
        self.supernet = setting.supernet
        self.evaluate = ChildEvaluator(
            setting.supernet,
            setting.evaluator,
            n_batches=1,
            metric="val_loss",
            processes=processes,
        )

    def timed(self, children: Sequence[Sample]) -> tuple[tuple[float, float, float], Losses]:
        """Time a call that knows no score; gives its scores, too.

        The seconds are those of the clock, of this process and of its forks.
        """
        with torch.no_grad():
            next(self.supernet.parameters()).mul_(1)
        began, own, forks = time.perf_counter(), time.process_time(), _of_forks()
        scores = self.evaluate(children)
        seconds = time.perf_counter() - began
        return (seconds, time.process_time() - own, _of_forks() - forks), scores


def _of_forks() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure(settings: argparse.Namespace) -> dict[str, Any]:
    """Time all populations."""
    settings.device = "cpu"
    setting = bert_setting(settings, settings.layers, settings.batch_size)
    one, several = Side(setting, 1), Side(setting, settings.processes)
    results: dict[str, Any] = {}
    for name, children in populations(setting, settings).items():
        one.timed(children[:8]), several.timed(children[:8])
        pairs = [
            alternate(partial(one.timed, children), partial(several.timed, children), turn)
            for turn in range(settings.repetitions)
        ]
        one_side, more = ([pair[number][0] for pair in pairs] for number in (0, 1))
        seconds = {"one": [s for s, *_ in one_side], "more": [s for s, *_ in more]}
        processor = {
            "one": [own for _, own, _ in one_side], "more": [own + forks for _, own, forks in more],
            "forking": [own for _, own, _ in more],
        }  # fmt: skip
        results[name] = {
            "children": len(children),
            "seconds": seconds,
            "processor_seconds": processor,
            "speedup": ratios(seconds["one"], seconds["more"]),
            "same_bits": all(a == b for (_, a), (_, b) in pairs),
        }
    return {"populations": results, "load_average_after": list(os.getloadavg())}


def report(settings: argparse.Namespace, results: dict[str, Any]) -> str:
    """Write the tables."""
    rows, targets = [], []
    for name, found in results["populations"].items():
        speedup = summarise(found["speedup"])
        one, more = (summarise(found["seconds"][side]) for side in ("one", "more"))
        same = "yes" if found["same_bits"] else "NO"
        used = found["processor_seconds"]
        shares = [text(summarise(ratios(used[side], used["one"]))) for side in ("more", "forking")]
        rows.append([name, found["children"], text(one), text(more), text(speedup), same, *shares])
        inverse = summarise(1 / ratio for ratio in found["speedup"])
        targets.append([f"{name}: at least {TARGET}", verdict(inverse, at_most=1 / TARGET)])
    header = ["population", "children", "one process, s", f"{settings.processes} processes, s",
              "times as fast", "same bits", "processor time, all / one",
              "of it in the forking process"]  # fmt: skip
    about = (
        f"BERT space, preset {settings.preset}, {settings.layers} layers, on one batch of "
        f"{settings.batch_size} sequences; {settings.repetitions} pairs in turns. Load average "
        f"{results['load_average_after'][1]:.1f} in the five minutes before the end."
    )
    parts = [about, table(header, rows)]
    if settings.processes == 2:
        parts += ["## Targets", table(["target", ""], targets)]
    return "\n\n".join(parts)


def main(arguments: list[str]) -> dict[str, Any]:
    """Measure and write the report."""
    settings = parse_args(arguments)
    return run_benchmark("scoring_processes", settings, arguments, measure, report)


if __name__ == "__main__":
    main(sys.argv[1:])
