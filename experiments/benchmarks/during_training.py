"""Cost of watching interference: training steps with and without ``LogInterference``, in pairs.

::

    python -m experiments.benchmarks.during_training
    python -m experiments.benchmarks.during_training --device cuda --preset base

Both sides of a pair train the same children from the same weights on the same batches. They
advance in turns of ``--turn`` steps, each in a process of its own, as in
:mod:`experiments.benchmarks.step_time`. ``--steps`` is a multiple of ``--interval``, so that
measuring takes the same share of the time as in a long run.
"""

from __future__ import annotations

import argparse
import inspect
import sys
from functools import partial
from typing import Any

from experiments.benchmarks.pairs import ratios, summarise, text, verdict
from experiments.benchmarks.reporting import report_parser, run_benchmark, table
from experiments.benchmarks.timed_training import (
    TIMED,
    Run,
    add_run_options,
    check_counts,
    train,
)
from experiments.benchmarks.turns import in_turns
from experiments.benchmarks.workloads import WORKLOADS
from nni_magic.analysis.during_training import LogInterference

TARGET = 1.05
DEFAULT_INTERVAL = inspect.signature(LogInterference).parameters["every_n_steps"].default


def parse_args(arguments: list[str]) -> argparse.Namespace:
    """Read the settings.

    Raises
    ------
    ValueError
        If one of them is not accepted.
    """
    parser = report_parser(__doc__)
    add_run_options(parser, steps=200)
    add = parser.add_argument
    add("--methods", nargs="+", choices=TIMED, default=list(TIMED))
    add("--interval", type=int, default=DEFAULT_INTERVAL, help="steps between measurements")
    settings = parser.parse_args(arguments)
    check_counts(settings, "interval")
    if settings.steps % settings.interval:
        raise ValueError(
            f"steps is {settings.steps}; accepted are multiples of interval, {settings.interval}"
        )
    return settings


def run_pair(
    workload: str, method: str, turn: int, settings: argparse.Namespace
) -> tuple[Run, Run]:
    """Run both sides in turns, watched and plain, with a seed of this pair alone."""
    seed = settings.seed + turn
    watched, plain = in_turns(
        [
            partial(train, workload, method, seed, settings, callbacks=callbacks)
            for callbacks in ([LogInterference(settings.interval)], [])
        ],
        preload=["experiments.benchmarks.timed_training"],
        first=turn % 2,
    )
    assert watched.last_loss == plain.last_loss, "watching has changed the training"
    return watched, plain


def measure(settings: argparse.Namespace) -> dict[str, Any]:
    """Run all pairs, one of every method after the other."""
    results: dict[str, Any] = {}
    for name in settings.workloads:
        title = WORKLOADS[name](settings).title  # prepares the data once for all processes
        pairs: dict[str, list[tuple[Run, Run]]] = {method: [] for method in settings.methods}
        for turn in range(settings.repetitions):
            for method in settings.methods:
                watched, plain = run_pair(name, method, turn, settings)
                pairs[method].append((watched, plain))
                print(f"{name:5} {method:8} pair {turn + 1}: ratio "
                      f"{watched.seconds / plain.seconds:.3f}", flush=True)  # fmt: skip
        methods = {method: _summary(runs, settings.steps) for method, runs in pairs.items()}
        results[name] = {"title": title, "methods": methods}
    return {"measurements": results, "ratio_at_most": TARGET}


def _summary(pairs: list[tuple[Run, Run]], steps: int) -> dict[str, Any]:
    ms = {
        side: [round(run.seconds / steps * 1000, 4) for run in runs]
        for side, runs in zip(("watched", "plain"), zip(*pairs, strict=True), strict=True)
    }
    ratio = ratios(ms["watched"], ms["plain"])
    summary = {side: summarise(values) for side, values in {**ms, "ratio": ratio}.items()}
    return {
        "unit": "ms a step",
        **ms,
        "ratio": ratio,
        "summary": summary,
        "verdict": verdict(summary["ratio"], at_most=TARGET),
    }


def report(settings: argparse.Namespace, results: dict[str, Any]) -> str:
    """The results as Markdown."""
    sections = [
        f"{settings.repetitions} pairs of runs a method, {settings.steps} timed steps a run "
        f"after {settings.warmup} others, in turns of {settings.turn}; interference is measured "
        f"every {settings.interval} steps. Both sides of a pair train the same children, and end "
        f"with the same loss to the last bit. The target is a ratio of at most {TARGET}.",
    ]
    for workload in results["measurements"].values():
        rows = [
            [method, *(text(result["summary"][key]) for key in ("watched", "plain", "ratio")),
             result["verdict"]]
            for method, result in workload["methods"].items()
        ]  # fmt: skip
        header = ["", "watched, ms", "plain, ms", "watched / plain", "target"]
        sections += [f"## {workload['title']}", table(header, rows)]
    return "\n\n".join(sections)


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Measure, print and write the report; gives the results."""
    arguments = sys.argv[1:] if arguments is None else arguments
    settings = parse_args(arguments)
    return run_benchmark("during_training", settings, arguments, measure, report)


if __name__ == "__main__":
    main()
