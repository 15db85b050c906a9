"""All methods in one table: how they rank, what is found with them, and what they cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.benchmarks.reporting import table
from experiments.studies.cells import interval
from experiments.studies.gathered import UNCALIBRATED, Gathered
from experiments.studies.measurements import Found
from experiments.studies.ranking.comparisons import METHODS
from experiments.studies.ranking.statistics import Half, RankedSupernets, Statistics
from nni_magic.analysis import figures
from nni_magic.analysis.seeds import over_seeds

__all__ = ["Beside", "draw", "markdown"]

Beside = Mapping[str, Found]
"""What is measured besides the rankings, by the names of its files' folders."""

HEADER = (
    "supernet", "seeds", "steps", f"time (in {METHODS[0]}'s)", "peak memory (MiB)", "tau", "95 %",
    "95 %, children too", "precision@10", "mean loss (nats)", "cosine of gradients",
    "regret of the best score", "95 %", "regret of the child found", "95 %",
    f"that less {METHODS[0]}'s", "95 %",
)  # fmt: skip


def markdown(record: Gathered, here: Half, beside: Beside) -> str:
    """Write the table of all supernets; a column of which nothing is known is left out.

    Parameters
    ----------
    record, here
        The results, and what the statistics say of all children.
    beside
        ``times``, ``memory``, ``cosines``, and what was ``searched``, random searches as
        ``halving``, each as far as it is there. Of what was found there is a ``truth``, once it is
        trained.
    """
    best, unit = _best(record), record.ground_truth.unit
    searched = beside.get("searched", {})
    truths = {name: _truths(by_seed) for name, by_seed in searched.items()}
    rows = [
        _row(record, name, found, beside) + _found_cells(name, truths, best)
        for name, found in here.supernets.items()
        if not name.endswith(UNCALIBRATED)
    ]
    if halving := searched.get("halving"):
        steps = next(iter(halving.values()))["steps"]
        rows.append([
            "random search with early stopping", len(halving), steps, *[""] * 10,
            *_found_cells("halving", truths, best),
        ])  # fmt: skip
    return (
        "## All methods\n\nA supernet a seed. Time is the CPU time of a training with the first "
        f"seed in that of {METHODS[0]}, right behind it on the same machine; memory is the most "
        "that tensors take at once in a short training of the first seed, with the children that "
        "it draws. The cosine is that of the gradients of a candidate that two random children "
        f"share: higher is less interference. A regret is by how many {unit} a child is worse "
        f"than the best of the {here.n} children of the ground truth, negative where it is "
        "better: of these the one of the best score, and the child that evolution finds on "
        "inherited weights, by a ground truth of the same kind. As the best one is so by chance, "
        f"too, all regrets are too high, by the same. Less {METHODS[0]}'s is over the seeds that "
        "both have. Intervals are Student's, 95 %, over seeds, and of tau also over seeds and "
        f"children.\n\n{table(*_known(rows))}"
    )


def _known(rows: Sequence[Sequence[object]]) -> tuple[list[str], list[list[object]]]:
    """The header and the rows without columns that are empty in all rows."""
    known = [i for i in range(len(HEADER)) if any(row[i] != "" for row in rows)]
    return [HEADER[i] for i in known], [[row[i] for i in known] for row in rows]


def _row(record: Gathered, name: str, found: RankedSupernets, beside: Beside) -> list[object]:
    taus = [one.kendall_tau for one in found.seeds.values()]
    ratios = _ratios(name, beside)
    several = found.kendall_tau is not None and found.joint_interval is not None
    shares = [one.precision_at[10] for one in found.seeds.values() if 10 in one.precision_at]
    memory = [one["peak_memory"] for one in beside.get("memory", {}).get(name, {}).values()]
    cosines = [np.mean(one["cosines"]) for one in beside.get("cosines", {}).get(name, {}).values()]
    return [
        name, len(taus), record.plan.supernets[name].steps,
        f"{ratios[0]:.2f}" if ratios else "",
        f"{memory[0] / 2**20:.1f}" if memory else "", f"{np.mean(taus):.3f}",
        interval(found.kendall_tau.interval) if several and found.kendall_tau else "",
        interval(found.joint_interval) if several and found.joint_interval else "",
        f"{np.mean(shares):.2f}" if shares else "",
        f"{np.mean(list(found.mean_loss.values())):.3f}",
        f"{np.mean(cosines):.3f}" if cosines else "",
        *_mean_cells([one.regret for one in found.seeds.values()]),
    ]


def _ratios(name: str, beside: Beside) -> list[float]:
    """Time of the training to that of the baseline, if it was measured."""
    return [one["ratio"] for one in beside.get("times", {}).get(name, {}).values()]


def _best(record: Gathered) -> float:
    return float(record.ranked().truth.min())


def _truths(searched: Mapping[int, Any]) -> dict[int, float]:
    """Ground truth of the child found, by seed; nothing if one of them is not trained yet."""
    truths = {seed: one["truth"] for seed, one in searched.items()}
    return {} if None in truths.values() else truths


def _found_cells(name: str, truths: Mapping[str, dict[int, float]], best: float) -> list[object]:
    """Regret of the children found, and by how much it is more than with the baseline."""
    own, first = truths.get(name, {}), truths.get(METHODS[0], {})
    common = [] if name == METHODS[0] else [seed for seed in own if seed in first]
    return [
        *_mean_cells([truth - best for truth in own.values()]),
        *_mean_cells([own[seed] - first[seed] for seed in common]),
    ]


def _mean_cells(values: Sequence[float]) -> list[object]:
    """Mean and interval."""
    if not values:
        return ["", ""]
    spread = interval(over_seeds(values).interval, "+") if len(values) > 1 else ""
    return [f"{np.mean(values):+.3f}", spread]


def draw(record: Gathered, found: Statistics, beside: Beside, stem: Path) -> None:
    """Draw tau and the time of the training, a line a method, into ``<stem>_methods``.

    Times are drawn as far as they were measured. A method at equal steps is filled, the same one at
    equal time, ``<name>_time``, hollow.
    """
    here = found.halves["all"]
    taus = {
        name: here.supernets[name].kendall_tau
        for name in record.plan.supernets
        if name in here.supernets
    }
    lines = list(dict.fromkeys(name.removesuffix("_time") for name in taus))
    figure, (left, right) = figures.panels_of(2, 4.6, 0.9 + 0.28 * len(lines), sharey=True)
    for name, tau in taus.items():
        timed = name.endswith("_time")
        place = lines.index(name.removesuffix("_time")) + (0.16 if timed else -0.16)
        look = {"marker": "o", "color": figures.COLOURS[0], "linestyle": "",
                "markerfacecolor": "white" if timed else figures.COLOURS[0]}  # fmt: skip
        if tau is not None:
            reach = tau.interval[1] - tau.mean
            left.errorbar(tau.mean, place, xerr=reach, capsize=3, elinewidth=1.2, **look)
        if ratios := _ratios(name, beside):
            right.plot(ratios[0], place, **look)
    dashed = {here.best_trivial: here.trivial[here.best_trivial].kendall_tau}
    if found.ceiling:
        dashed["noise ceiling"] = found.ceiling.tau_ceiling
    for one in dashed.values():
        left.axvline(one, color=figures.GREY, linewidth=1.1, linestyle="dashed", zorder=1)
    title = ", ".join(f"{name} {one:.2f}" for name, one in dashed.items())
    left.set_title(f"dashed: {title}", size="medium", color=figures.GREY)
    low, high = left.get_xlim()
    left.set_xlim(max(low, -1), min(high, 1))
    left.set_yticks(range(len(lines)), lines)
    left.invert_yaxis()
    hollow = "; hollow: at equal time" if lines != list(taus) else ""
    left.set_xlabel(f"Kendall's τ with the ground truth\n(mean and 95 % over seeds{hollow})")
    if right.lines:
        right.set_xscale("log")
        for ticks in (right.xaxis.set_major_formatter, right.xaxis.set_minor_formatter):
            ticks("{x:g}")
    right.set_visible(bool(right.lines))
    right.set_xlabel(f"time, in trainings of {METHODS[0]}")
    for panel in (left, right):
        figures.tidy(panel)
    figures.save(figure, stem.with_name(f"{stem.name}_methods"))
