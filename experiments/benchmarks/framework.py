"""What a strategy costs beside the training itself: ours, NNI's and Lightning against a plain loop.

::

    python -m experiments.benchmarks.framework --threads 1

Four sides train the same children, from the same weights and on the same batches, in turns of
``--turn`` steps: a plain PyTorch loop, Lightning alone (both of
:mod:`experiments.benchmarks.plain_training`), NNI's ``RandomOneShot`` and SPOS. The loop is the
floor, what the layers, the loss, the data and the optimizer take; bare Lightning is what every
evaluator of NNI has to pay. How the strategies are timed is told in
:mod:`experiments.benchmarks.step_time`.

In the chains the layers are tiny, so that what is around them shows.
"""

from __future__ import annotations

import argparse
import math
import sys
from functools import partial
from typing import Any

from experiments.benchmarks.pairs import ratios, summarise, text
from experiments.benchmarks.plain_training import train_plainly
from experiments.benchmarks.reporting import report_parser, run_benchmark, table
from experiments.benchmarks.timed_training import Run, add_run_options, check_counts, train
from experiments.benchmarks.turns import in_turns
from experiments.benchmarks.workloads import WORKLOADS

SIDES = {
    "loop": "plain loop",
    "lightning": "Lightning alone",
    "nni:spos": "NNI's `RandomOneShot`",
    "spos": "SPOS",
}


def parse_args(arguments: list[str]) -> argparse.Namespace:
    """Read the settings.

    Raises
    ------
    ValueError
        If a number is too small.
    """
    parser = report_parser(__doc__)
    add_run_options(parser, steps=100, workloads=list(WORKLOADS))
    settings = parser.parse_args(arguments)
    check_counts(settings)
    return settings


def run_sides(workload: str, turn: int, settings: argparse.Namespace) -> dict[str, Run]:
    """Run all sides in turns on the same children, with a seed of this turn alone."""
    seed = settings.seed + turn
    runs = in_turns(
        [
            partial(train_plainly if side in ("loop", "lightning") else train, workload, side, seed,
                    settings)
            for side in SIDES
        ],
        preload=["experiments.benchmarks.plain_training"],
        first=turn % len(SIDES),
    )  # fmt: skip
    loop, *others = runs
    for run in others:
        assert run.children == loop.children, "two sides trained different children"
        assert math.isclose(run.last_loss, loop.last_loss, rel_tol=1e-3), "the sides differ"
    return dict(zip(SIDES, runs, strict=True))


def measure(settings: argparse.Namespace) -> dict[str, Any]:
    """Run all sides, again and again."""
    results: dict[str, Any] = {}
    for name in settings.workloads:
        words = WORKLOADS[name](settings).title  # prepares the data once for all processes
        ms: dict[str, list[float]] = {side: [] for side in SIDES}
        losses: dict[str, list[float]] = {side: [] for side in SIDES}
        for turn in range(settings.repetitions):
            for side, run in run_sides(name, turn, settings).items():
                ms[side].append(round(run.seconds / settings.steps * 1000, 4))
                losses[side].append(run.last_loss)
            print(name, *(f"{side} {values[-1]:.2f} ms" for side, values in ms.items()), flush=True)
        ratio = {side: ratios(values, ms["loop"]) for side, values in ms.items()}
        results[name] = {
            "title": words, "unit": "ms a step", "step": ms, "ratio": ratio, "last_loss": losses,
            "summary": {
                side: {"step": summarise(ms[side]), "ratio": summarise(ratio[side])}
                for side in SIDES
            },
        }  # fmt: skip
    return {"measurements": results}


def report(settings: argparse.Namespace, results: dict[str, Any]) -> str:
    """The results as Markdown."""
    sections = [
        f"{settings.repetitions} runs a side, {settings.steps} timed steps a run after "
        f"{settings.warmup} others, in turns of {settings.turn}. All sides train the same children "
        "to the same losses.",
    ]
    for workload in results["measurements"].values():
        rows = []
        for side, words in SIDES.items():
            summary = workload["summary"][side]
            ratio = "" if side == "loop" else text(summary["ratio"])
            rows.append([words, text(summary["step"]), ratio])
        header = ["", "step, ms", "to the plain loop"]
        sections += [f"## {workload['title']}", table(header, rows)]
    return "\n\n".join(sections)


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Measure, print and write the report; gives the results."""
    arguments = sys.argv[1:] if arguments is None else arguments
    settings = parse_args(arguments)
    return run_benchmark("framework", settings, arguments, measure, report)


if __name__ == "__main__":
    main()
