"""Cost of watching interference: training steps with and without ``LogInterference``, in pairs.

::

    python -m experiments.benchmarks.during_training
    python -m experiments.benchmarks.during_training --device cuda --preset base

Both sides of a pair train the same children from the same weights on the same batches. They
advance in turns of ``--turn`` steps, each in a process of its own, as in
:mod:`experiments.benchmarks.step_time`. ``--steps`` is a multiple of ``--interval``, so that the
measurements have the share that they have in a long run.
"""

from __future__ import annotations

import argparse
import inspect
import sys
from functools import partial
from pathlib import Path
from typing import Any

import torch

from experiments.benchmarks.reporting import (
    add_report_options,
    ratios,
    summarise,
    table,
    text,
    verdict,
    write_report,
)
from experiments.benchmarks.timed_training import STRATEGIES, Run, train
from experiments.benchmarks.turns import in_turns
from experiments.benchmarks.workloads import WORKLOADS
from nni_magic.analysis.during_training import LogInterference
from search_spaces.bert import PRESETS

TARGET = 1.05
DEFAULT_INTERVAL = inspect.signature(LogInterference).parameters["every_n_steps"].default


def parse_args(arguments: list[str]) -> argparse.Namespace:
    """Read the settings.

    Raises
    ------
    SystemExit
        If one of them is not accepted.
    """
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_report_options(parser)
    add = parser.add_argument
    cuda = torch.cuda.is_available()
    add("--workloads", nargs="+", choices=WORKLOADS, default=list(WORKLOADS))
    add("--methods", nargs="+", choices=STRATEGIES, default=list(STRATEGIES))
    add("--repetitions", type=int, default=5, help="pairs of each method")
    add("--interval", type=int, default=DEFAULT_INTERVAL, help="steps between measurements")
    add("--steps", type=int, default=200, help="timed steps of a run")
    add("--warmup", type=int, default=5, help="steps before these")
    add("--turn", type=int, default=5, help="steps of one side before it is the other's turn")
    add("--anchor-interval", type=int, default=100, help="of MAGIC-A and MAGIC-AT")
    add("--device", choices=["cpu", "cuda"], default="cuda" if cuda else "cpu")
    add("--precision", default="32-true", help="Lightning's, e.g. bf16-mixed")
    add("--batch-size", type=int, default=32)
    add("--preset", choices=PRESETS, default="tiny", help="of search_spaces.BertSpace")
    add("--corpus", default="sotu", help="see nni_magic/tasks/language/corpus.py")
    add("--cache", type=Path, default=Path("experiments/runs/cache"))
    settings = parser.parse_args(arguments)
    for name in ("repetitions", "interval", "steps", "warmup", "turn", "anchor_interval",
                 "batch_size"):  # fmt: skip
        if getattr(settings, name) < 1:
            parser.error(f"{name} is {getattr(settings, name)}; it must be at least 1")
    if settings.steps % settings.interval:
        parser.error(
            f"steps is {settings.steps}; it must be a multiple of interval={settings.interval}"
        )
    return settings


def run_pair(
    workload: str, method: str, turn: int, settings: argparse.Namespace
) -> tuple[Run, Run]:
    """Run both sides in turns with a seed of this pair's own: watched, and plain."""
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
    torch.set_num_threads(settings.threads)
    results = measure(settings)
    markdown = report(settings, results)
    print(markdown)
    for path in write_report(
        "during_training", settings, arguments, results, markdown, device=settings.device
    ):
        print(f"Wrote {path}")
    return results


if __name__ == "__main__":
    main()
