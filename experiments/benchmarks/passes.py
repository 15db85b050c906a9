"""Time of a method's step against the passes that it is made of, in pairs.

::

    python -m experiments.benchmarks.passes --workloads bert --steps 20

A method is run once to see which children it trains, as it depends on losses. Then two sides
advance in turns: the method, and SPOS on the very same children, one a step, each on the whole
batch. What is compared is the time of a step with that of as many steps of SPOS as the method
costs: of C children each on the whole batch C, of children that share a batch one. A forward pass
without gradient, by which AttentiveNAS picks, counts as a third. Every step of SPOS has an
optimizer's step and what Lightning does around it, a step of several children has them once.

Multi-architectural sampling is timed twice: against one pass on the whole batch, and against as
many passes as it has children, each of SPOS on batches of as many rows as a child has. The first
also shows what it costs that a part of a batch takes more than its share of the time.

PA&DA is timed on images alone: of text the model gives what is masked, and not a row for every
sequence. Not timed are delayed shrinking, whose steps are those of SPOS and later those of the
sandwich, and ENAS, whose steps are those of SPOS, with the scores of its controller in between.
"""

from __future__ import annotations

import argparse
import copy
import sys
from functools import partial
from typing import Any

import pytorch_lightning as pl
from nni.mutable import Sample

from experiments.benchmarks.pairs import ratios, summarise, text, verdict
from experiments.benchmarks.reporting import report_parser, run_benchmark, table
from experiments.benchmarks.timed_training import Run, add_run_options, check_counts, train
from experiments.benchmarks.turns import HandOver, in_turns
from experiments.benchmarks.workloads import WORKLOADS
from nni_magic.strategies.registry import method

PARTS = "multi_architecture, parts"
METHODS = ("spos", "fairnas", "sandwich", "alphanet", "attentive_nas", "multi_architecture", PARTS,
           "shiftnas", "prenas", "pada", "few_shot")  # fmt: skip
NOT_TIMED = {("bert", "pada")}
TARGET = 1.05
PRELOAD = ["experiments.benchmarks.timed_training"]
FORWARD = 1 / 3


def parse_args(arguments: list[str]) -> argparse.Namespace:
    """Read the settings.

    Raises
    ------
    ValueError
        If a number is too small.
    """
    parser = report_parser(__doc__)
    add_run_options(parser, steps=20)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    settings = parser.parse_args(arguments)
    check_counts(settings)
    return settings


class Record(pl.Callback):
    """Remembers the children of every step."""

    def __init__(self) -> None:
        self.steps: list[list[Sample]] = []

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *args: Any) -> None:
        self.steps.append([turn.child for turn in pl_module.turns])


def recorded(
    workload: str, name: str, seed: int, settings: argparse.Namespace, hand_over: HandOver
) -> list[list[Sample]]:
    """Run a method for the children of all its steps."""
    record = Record()
    train(workload, name, seed, settings, hand_over, callbacks=[record])
    return record.steps


def cost(name: str, n_children: int) -> float:
    """What a step costs in passes.

    >>> cost("fairnas", 4), cost("multi_architecture", 4), cost("attentive_nas", 4)
    (4.0, 1.0, 6.0)
    >>> cost("multi_architecture, parts", 4)
    4.0
    """
    if name == "multi_architecture":
        return 1.0
    if name == "attentive_nas":
        own = method(name).settings()
        return n_children + FORWARD * own.n_random * own.draws  # type: ignore[attr-defined]
    return float(n_children)


def run_pair(
    workload: str, name: str, turn: int, settings: argparse.Namespace
) -> tuple[Run, Run, int]:
    """Run a method and SPOS on its children in turns; gives the children of a step, too."""
    seed, single = settings.seed + turn, copy.copy(settings)
    side = name.removesuffix(", parts")
    [steps] = in_turns([partial(recorded, workload, side, seed, settings)], preload=PRELOAD)
    n_children = len(steps[0])
    for each in ("steps", "warmup", "turn"):
        setattr(single, each, getattr(settings, each) * n_children)
    if name == PARTS:
        single.batch_size = settings.batch_size // n_children
    children = [child for step in steps for child in step]
    ours, theirs = in_turns(
        [
            partial(train, workload, side, seed, settings),
            partial(train, workload, "spos", seed, single, children=children),
        ],
        preload=PRELOAD,
        first=turn % 2,
    )
    assert ours.children == [step[-1] for step in steps], "the method trained other children"
    assert theirs.children == children, "SPOS trained other children"
    return ours, theirs, n_children


def measure(settings: argparse.Namespace) -> dict[str, Any]:
    """Run all pairs, one of every method after the other."""
    results: dict[str, Any] = {}
    for workload in settings.workloads:
        words = WORKLOADS[workload](settings).title  # prepares the data once for all processes
        entries: dict[str, Any] = {}
        for turn in range(settings.repetitions):
            for name in (each for each in settings.methods if (workload, each) not in NOT_TIMED):
                ours, theirs, n_children = run_pair(workload, name, turn, settings)
                entry = entries.setdefault(name, {
                    "children": n_children, "passes": cost(name, n_children), "unit": "ms",
                    "step": [], "pass": [],
                })  # fmt: skip
                entry["step"].append(1000 * ours.seconds / settings.steps)
                entry["pass"].append(1000 * theirs.seconds / settings.steps / n_children)
                step, one = entry["step"][-1], entry["pass"][-1]
                share = step / one / entry["passes"]
                print(f"{workload} {name}: {step:.2f} ms, a pass {one:.2f} ms, {share:.3f}")
        for entry in entries.values():
            expected = [entry["passes"] * each for each in entry["pass"]]
            entry["summary"] = {
                "step": summarise(entry["step"]), "pass": summarise(entry["pass"]),
                "ratio": summarise(ratios(entry["step"], expected)),
            }  # fmt: skip
        results[workload] = {"title": words, "methods": entries}
    return {"measurements": results}


def report(settings: argparse.Namespace, results: dict[str, Any]) -> str:
    """The results as Markdown."""
    sections = [
        f"{settings.repetitions} pairs of runs a method, {settings.steps} timed steps a run after "
        f"{settings.warmup} others. A pass is a step of SPOS on one of the method's children. The "
        f"ratio is that of the step to its passes; at most {TARGET} is the target."
    ]
    for workload in results["measurements"].values():
        rows = [
            [name, entry["children"], f"{entry['passes']:g}", *(
                text(entry["summary"][each]) for each in ("step", "pass", "ratio")
            ), verdict(entry["summary"]["ratio"], at_most=TARGET)]
            for name, entry in workload["methods"].items()
        ]  # fmt: skip
        header = ["", "children", "passes", "step, ms", "pass, ms", "step / its passes", ""]
        sections += [f"## {workload['title']}", table(header, rows)]
    return "\n\n".join(sections)


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Measure, print and write the report; gives the results."""
    arguments = sys.argv[1:] if arguments is None else arguments
    settings = parse_args(arguments)
    return run_benchmark("passes", settings, arguments, measure, report)


if __name__ == "__main__":
    main()
