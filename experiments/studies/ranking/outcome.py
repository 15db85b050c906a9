"""All methods in one table: how they rank, what is found with them, and what they cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.benchmarks.reporting import table
from experiments.studies.cells import interval
from experiments.studies.gathered import UNCALIBRATED, Gathered
from experiments.studies.ranking.found import Beside
from experiments.studies.ranking.statistics import Half, RankedSupernets
from nni_magic.analysis import figures
from nni_magic.analysis.seeds import over_seeds

__all__ = ["draw", "markdown"]

HEADER = (
    "supernet", "seeds", "steps", "CPU s", "peak memory (MiB)", "tau", "95 %",
    "95 %, children too", "precision@10", "mean loss (nats)", "cosine of gradients",
    "regret of the best score", "95 %", "regret of the child found", "95 %",
)  # fmt: skip


def markdown(record: Gathered, here: Half, compared: Beside, searched: Beside) -> str:
    """Write the table of all supernets; a column of which nothing is known is left out.

    Parameters
    ----------
    record, here
        The results, and what the statistics say of all children.
    compared, searched
        What is measured of supernets besides, and what is found with them; random searches, as
        ``halving``.
    """
    best, unit = _best(record), record.ground_truth.unit
    rows = [
        _row(record, name, found, compared.get(name, {}), searched.get(name, {}), best)
        for name, found in here.supernets.items()
        if not name.endswith(UNCALIBRATED)
    ]
    if halving := searched.get("halving"):
        seconds = np.mean([one["cpu_seconds"] for one in halving.values()])
        steps = next(iter(halving.values()))["steps"]
        rows.append([
            "random search with early stopping", len(halving), steps, f"{seconds:.0f}",
            *[""] * (len(HEADER) - 6), *_found(halving, best),
        ])  # fmt: skip
    return (
        "## All methods\n\nA supernet a seed. CPU time is that of the training; memory is the most "
        "that tensors take at once in a short training of the first seed, with the children that "
        "it draws. The cosine is that of the gradients of a candidate that two random children "
        f"share: higher is less interference. A regret is by how many {unit} a child is worse "
        f"than the best of the {here.n} children of the ground truth, negative where it is "
        "better: of these the one of the best score, and the child that evolution finds on "
        "inherited weights, trained from scratch as they were. Intervals are Student's, 95 %, "
        f"over seeds, and of tau also over seeds and children.\n\n{table(*_known(rows))}"
    )


def _known(rows: Sequence[Sequence[object]]) -> tuple[list[str], list[list[object]]]:
    """The header and the rows without columns that are empty in all rows."""
    known = [i for i in range(len(HEADER)) if any(row[i] != "" for row in rows)]
    return [HEADER[i] for i in known], [[row[i] for i in known] for row in rows]


def _row(
    record: Gathered, name: str, found: RankedSupernets, compared: Mapping[int, Any],
    searched: Mapping[int, Any], best: float,
) -> list[object]:  # fmt: skip
    taus = [one.kendall_tau for one in found.seeds.values()]
    seconds = [one["cpu_seconds"] for one in record.supernets[name].values()]
    several = found.kendall_tau is not None and found.joint_interval is not None
    shares = [one.precision_at[10] for one in found.seeds.values() if 10 in one.precision_at]
    memory = [one["peak_memory"] for one in compared.values() if "peak_memory" in one]
    cosines = [np.mean(one["cosines"]) for one in compared.values()]
    return [
        name, len(taus), record.plan.supernets[name].steps, f"{np.mean(seconds):.0f}",
        f"{memory[0] / 2**20:.1f}" if memory else "", f"{np.mean(taus):.3f}",
        interval(found.kendall_tau.interval) if several and found.kendall_tau else "",
        interval(found.joint_interval) if several and found.joint_interval else "",
        f"{np.mean(shares):.2f}" if shares else "",
        f"{np.mean(list(found.mean_loss.values())):.3f}",
        f"{np.mean(cosines):.3f}" if cosines else "",
        *_regret([one.regret for one in found.seeds.values()]), *_found(searched, best),
    ]  # fmt: skip


def _best(record: Gathered) -> float:
    return float(record.ranked().truth.min())


def _found(searched: Mapping[int, Any], best: float) -> list[str]:
    """Regret of the children found; nothing if one of them is not trained yet."""
    truths = [one["truth"] for one in searched.values()]
    return ["", ""] if None in truths else _regret([truth - best for truth in truths])


def _regret(regrets: Sequence[float]) -> list[str]:
    """Mean and interval."""
    if not regrets:
        return ["", ""]
    spread = interval(over_seeds(regrets).interval, "+") if len(regrets) > 1 else ""
    return [f"{np.mean(regrets):+.3f}", spread]


def draw(record: Gathered, here: Half, stem: Path) -> None:
    """Draw tau against the CPU time of the training, into ``<stem>_cost``: a mean and its interval.

    Lines go from a method at equal steps to the same one at equal time.
    """
    figure, [axes] = figures.panels_of(1, 7.5, 4.6)
    places: dict[str, tuple[float, float]] = {}
    names = [name for name, one in here.supernets.items() if one.kendall_tau is not None]
    methods = [one for one in names if not one.endswith((UNCALIBRATED, "_time"))]
    for i, name in enumerate(methods):
        for each in (name, f"{name}_time"):
            if each in names:
                places[each] = _point(axes, record, here, each, i, each == name)
        if f"{name}_time" in places:
            ends = zip(places[name], places[f"{name}_time"], strict=True)
            axes.plot(*ends, color=figures.style(i)["color"], lw=0.8, ls=":")
    axes.set_xscale("log")
    figures.tidy(axes)
    figures.draw_lines(axes, {here.best_trivial: here.trivial[here.best_trivial].kendall_tau})
    figures.label_axes(
        figure, "CPU seconds of the training (hollow: at equal time)",
        "Kendall's τ with the ground truth\n(mean and 95 % interval over seeds)",
    )  # fmt: skip
    figures.write_legend(figure, [axes])
    figures.save(figure, stem.with_name(f"{stem.name}_cost"))


def _point(
    axes: Any, record: Gathered, here: Half, name: str, i: int, filled: bool
) -> tuple[float, float]:
    tau = here.supernets[name].kendall_tau
    assert tau is not None
    seconds = float(np.mean([one["cpu_seconds"] for one in record.supernets[name].values()]))
    look = figures.style(i) | ({"label": name} if filled else {"markerfacecolor": "white"})
    figures.draw_means(axes, [seconds], [tau], **{**look, "linewidth": 1.0})
    return seconds, tau.mean
