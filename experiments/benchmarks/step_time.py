"""Time of a training step: ours against NNI's ``RandomOneShot``, in pairs.

::

    python -m experiments.benchmarks.step_time
    python -m experiments.benchmarks.step_time --device cuda --preset base --precision bf16-mixed

Both sides of a pair run under a Lightning trainer through their strategy, from the same weights,
on the same batches and **on the same children**. NNI's sampler cannot be seeded, so its module is
derived from here: ``resample()`` does NNI's own draw, at its own cost, and then sets the path
to the child that ours trains at that step (a few µs a block, to NNI's disadvantage). Otherwise a
pair would differ by the luck of its children: an attention layer and a convolution do not cost
alike.

The two advance in turns of ``--turn`` steps, each in a process of its own, and every turn is
timed whole: loading, drawing, logging and the optimizer included. The first ``--warmup`` steps,
set-up, the election of the first anchor and the scoring at the end are not timed; there is no
validation. MAGIC-A and MAGIC-AT align from the first step on. Their comparisons of anchor and
child are inside, timed also by themselves; with ``--steps`` a multiple of ``--anchor-interval``
they take the same share of the time as in a long run.

The method ``control`` runs NNI's on both sides: its ratios are 1 but for the noise of the machine.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from typing import Any

from experiments.benchmarks.pairs import Summary, ratios, summarise, text, verdict
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

CONTROL = "control"
TARGETS = {"spos": 1.0, "magic_t": 1.0, "magic_a": 1.3, "magic_at": 1.3}
MEMORY_TARGET = 1.1


def parse_args(arguments: list[str]) -> argparse.Namespace:
    """Read the settings.

    Raises
    ------
    ValueError
        If a number is too small.
    """
    parser = report_parser(__doc__)
    add_run_options(parser, steps=100)
    parser.add_argument("--methods", nargs="+", choices=(*TIMED, CONTROL), default=list(TIMED))
    settings = parser.parse_args(arguments)
    check_counts(settings)
    return settings


def title(method: str) -> str:
    """Name of a method in the report.

    >>> title("magic_t")
    'MAGIC-T'
    """
    return "NNI (control)" if method == CONTROL else method.upper().replace("_", "-")


def run_pair(
    workload: str, method: str, turn: int, settings: argparse.Namespace
) -> tuple[Run, Run]:
    """Run ours and NNI's in turns on the same children, with a seed of this pair alone."""
    sides = ("nni:spos", "nni:spos") if method == CONTROL else (method, f"nni:{method}")
    seed = settings.seed + turn
    ours, nni = in_turns(
        [partial(train, workload, side, seed, settings) for side in sides],
        preload=["experiments.benchmarks.timed_training"],
        first=turn % 2,
    )
    assert ours.children == nni.children, "the two sides trained different children"
    return ours, nni


def measure(settings: argparse.Namespace) -> dict[str, Any]:
    """Run all pairs, one of every method after the other."""
    results: dict[str, Any] = {}
    for name in settings.workloads:
        words = WORKLOADS[name](settings).title  # prepares the data once for all processes
        pairs: dict[str, list[tuple[Run, Run]]] = {method: [] for method in settings.methods}
        for turn in range(settings.repetitions):
            for method in settings.methods:
                pair = run_pair(name, method, turn, settings)
                pairs[method].append(pair)
                print(_progress(name, method, turn, pair, settings.steps), flush=True)
        results[name] = {"title": words, "methods": summaries(pairs, settings)}
    return {"measurements": results, "targets": targets(results)}


def _progress(workload: str, method: str, turn: int, pair: tuple[Run, Run], steps: int) -> str:
    ours, nni = (run.seconds / steps * 1000 for run in pair)
    return (
        f"{workload:5} {title(method):14} pair {turn + 1}: {ours:8.2f} ms, NNI {nni:8.2f} ms, "
        f"ratio {ours / nni:.3f}"
    )


def summaries(
    pairs: dict[str, list[tuple[Run, Run]]], settings: argparse.Namespace
) -> dict[str, Any]:
    """Raw values and summaries of every method on one workload."""
    results = {method: _summary(runs, settings) for method, runs in pairs.items()}
    if settings.device == "cuda" and "spos" in results:
        base = results["spos"]["peak_memory"]["ours"]
        for result in results.values():
            memory = result["peak_memory"]
            memory["to_spos"] = summarise(ratios(memory["ours"], base))
    return results


def _summary(pairs: list[tuple[Run, Run]], settings: argparse.Namespace) -> dict[str, Any]:
    sides = {"ours": [a for a, _ in pairs], "nni": [b for _, b in pairs]}
    ms = {
        side: [round(run.seconds / settings.steps * 1000, 4) for run in runs]
        for side, runs in sides.items()
    }
    ratio = ratios(ms["ours"], ms["nni"])
    shares = [run.anchor_seconds / run.seconds for run in sides["ours"]]
    result: dict[str, Any] = {
        "unit": "ms a step",
        **ms,
        "ratio": ratio,
        "last_loss": {side: [run.last_loss for run in runs] for side, runs in sides.items()},
        "anchor": {
            "seconds": [run.anchor_seconds for run in sides["ours"]],
            "comparisons": [run.anchor_comparisons for run in sides["ours"]],
            "share": shares,
        },
        "summary": {
            "ours": summarise(ms["ours"]),
            "nni": summarise(ms["nni"]),
            "ratio": summarise(ratio),
            "anchor_share": summarise(shares),
        },
    }
    if settings.device == "cuda":
        result["peak_memory"] = {
            side: [run.peak_memory for run in runs] for side, runs in sides.items()
        }
    return result


def targets(results: dict[str, Any]) -> list[dict[str, Any]]:
    """Verdict on every target, for time and, where it was measured, for memory."""
    verdicts = []
    for name, workload in results.items():
        for method, result in workload["methods"].items():
            checks: list[tuple[str, float, Summary]] = []
            if method in TARGETS:
                checks.append(("time to NNI's", TARGETS[method], result["summary"]["ratio"]))
            if method in TARGETS and "to_spos" in result.get("peak_memory", {}):
                memory = result["peak_memory"]["to_spos"]
                checks.append(("peak memory to SPOS's", MEMORY_TARGET, memory))
            verdicts += [
                {
                    "workload": name,
                    "method": method,
                    "what": what,
                    "ratio_at_most": limit,
                    "verdict": verdict(summary, at_most=limit),
                }
                for what, limit, summary in checks
            ]
    return verdicts


# The report


def report(settings: argparse.Namespace, results: dict[str, Any]) -> str:
    """The results as Markdown."""
    sections = [
        f"{settings.repetitions} pairs of runs a method, {settings.steps} timed steps a run "
        f"after {settings.warmup} others, in turns of {settings.turn}. Both sides of a pair train "
        "the same children: NNI's `RandomOneShot` makes its own draw and then takes ours. A ratio "
        "below 1 is faster than NNI.",
    ]
    for workload in results["measurements"].values():
        sections += [f"## {workload['title']}", _times(workload["methods"])]
    memory = "" if settings.device == "cuda" else "Peak memory: not measured on the CPU. "
    sections += [
        f"{memory}MAGIC-A and MAGIC-AT align from the first step on; the anchor is compared every "
        f"{settings.anchor_interval} steps{_caution(settings)}.",
        "## Targets",
        table(
            ["workload", "method", "ratio of", "at most", ""],
            [
                [t["workload"], title(t["method"]), t["what"], f"{t['ratio_at_most']:.2f}",
                 t["verdict"]]
                for t in results["targets"]
            ],
        ),
    ]  # fmt: skip
    return "\n\n".join(sections)


def _times(methods: dict[str, Any]) -> str:
    header = ["", "ours, ms", "NNI, ms", "ours / NNI", "of it anchor comparisons, %"]
    with_memory = any("peak_memory" in result for result in methods.values())
    rows = []
    for method, result in methods.items():
        summary = result["summary"]
        share = text({key: 100 * value for key, value in summary["anchor_share"].items()}, 2)
        row = [title(method), *(text(summary[key]) for key in ("ours", "nni", "ratio"))]
        row.append(share if any(result["anchor"]["comparisons"]) else "")
        if with_memory:
            row += _memory(result["peak_memory"])
        rows.append(row)
    return table([*header, *(["peak, MiB", "to SPOS"] if with_memory else [])], rows)


def _memory(memory: dict[str, Any]) -> list[str]:
    mebibytes = summarise(value / 2**20 for value in memory["ours"])
    return [text(mebibytes, 5), text(memory["to_spos"]) if "to_spos" in memory else ""]


def _caution(settings: argparse.Namespace) -> str:
    if settings.steps % settings.anchor_interval == 0:
        return ""
    return (
        f"; {settings.steps} timed steps are no multiple of that, so the share of the comparisons "
        "is not what it is in a long run"
    )


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Measure, print and write the report; gives the results."""
    arguments = sys.argv[1:] if arguments is None else arguments
    settings = parse_args(arguments)
    return run_benchmark("step_time", settings, arguments, measure, report)


if __name__ == "__main__":
    main()
