"""What a study of rank correlation has found so far: tables and pictures."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.benchmarks.reporting import table, write_report
from experiments.studies.cells import interval
from experiments.studies.gathered import gather
from experiments.studies.ranking import pictures
from experiments.studies.ranking.comparisons import METHODS
from experiments.studies.ranking.pictures import label, several, taus_of
from experiments.studies.ranking.preferences import anchor_table, change_table
from experiments.studies.ranking.statistics import statistics
from experiments.studies.study import Study
from nni_magic.analysis.seeds import over_seeds

__all__ = ["markdown", "write"]

COMPARISON = ("seeds", "difference of tau", "95 %", "95 %, children too")


def markdown(record: Mapping[str, Any], found: Mapping[str, Any], half: str) -> str:
    """Tables for reading.

    Parameters
    ----------
    record, found
        What ``gather`` and ``statistics`` give.
    half
        Which children.
    """
    here, unit = found["halves"][half], record["ground_truth"]["unit"]
    sections = [
        f"{_truth_line(record, found, here['n'])} tau is Kendall's tau-b of it with the validation "
        "loss with inherited weights; its interval is Student's, 95 %, over seeds, and "
        "beside it that over seeds and children. Of trivial rankings it is over children, and of "
        "the random one the range in which chance falls. Between seeds: mean tau of scores with "
        "those of a supernet of another seed, in the table of pairs one of each method. Of mean: "
        "tau of the scores' means over seeds.",
        table(
            ["ranking", "seeds", "tau", "95 %", "95 %, children too", "std over seeds",
             "between seeds", "of mean", "rho", "precision@5", "precision@10",
             f"regret ({unit})", "tied pairs", "mean loss (nats)", "CPU s"],
            [*_method_rows(record, here["supernets"]), *_trivial_rows(here["trivial"])],
        ),
    ]  # fmt: skip
    if here["comparisons"]:
        sections += [
            "Pairs of supernets, over the seeds that both have; intervals and p-values are not "
            "corrected for how many pairs there are:",
            _pair_table(here),
        ]
    if here["beyond"]:
        sections += [
            f"Against the best trivial ranking, {here['best trivial']}, which is known to be the "
            "best only by the ground truth:",
            _beyond_table(here),
        ]
    if here["candidates"]:
        sections += [
            "Which candidates are liked: tau of a child's number of blocks with a candidate with "
            "the ground truth, and with its loss with inherited weights (mean over seeds):",
            _candidate_table(here["candidates"]),
        ]
    change = f"the change of a child's loss from {METHODS[0]} of the same seed"
    if here["changes"]:
        sections += [
            "Which candidates a method likes more or less: what a further block with one adds to "
            f"{change}, in thousandths of a nat (Theil and Sen's slope; mean over seeds and "
            "Student's interval); negative where children with it are better off:",
            change_table(here["changes"]),
        ]
    if here["anchors"]:
        sections += [
            "Whether alignment favours the anchor's relatives: tau of a child's distance from the "
            f"last anchor with the ground truth (deserved), and with {change} (favoured); mean "
            "over seeds and Student's interval; positive where relatives are better off:",
            anchor_table(here["anchors"]),
        ]
    for setting, values in several(found["settings"]).items():
        sections += [f"By {label(setting)}, over the seeds that all values have:",
                     _setting_table(setting, values, here)]  # fmt: skip
    if half == "all" and (ceiling := found["ceiling"]):
        sections += [_ceiling_line(ceiling, unit)]
    return "\n\n".join(sections)


def _truth_line(record: Mapping[str, Any], found: Mapping[str, Any], n: int) -> str:
    children = record["plan"]["children"]
    trained = (
        f" for {children['steps']} steps (mean of {len(found['truth_seeds'])} training(s))"
        if children["steps"]
        else ""
    )
    name = record["ground_truth"]["name"]
    return f"{n} of {children['n']} children; the ground truth is the {name}{trained}."


def _method_rows(record: Mapping[str, Any], supernets: Mapping[str, Any]) -> list[list[object]]:
    rows: list[list[object]] = []
    for name, found in supernets.items():
        every = list(found["seeds"].values())
        tau = found["kendall_tau"]
        seconds = [one["cpu_seconds"] for one in record["supernets"][name].values()]
        rows.append([
            name, *_tau_cells(found), f"{tau['std']:.3f}" if tau else "",
            *(f"{found[key]:.2f}" if tau else "" for key in ("tau_between_seeds", "tau_of_mean")),
            *_means(every),
            f"{np.mean(list(found['mean_loss'].values())):.3f}", f"{np.mean(seconds):.0f}",
        ])  # fmt: skip
    return rows


def _tau_cells(found: Mapping[str, Any]) -> list[object]:
    """Seeds, mean tau, and its two intervals, if there are several seeds."""
    taus = [one["kendall_tau"] for one in found["seeds"].values()]
    intervals = ["", ""]
    if tau := found["kendall_tau"]:
        intervals = [interval(tau["interval"]), interval(found["joint_interval"])]
    return [len(taus), f"{np.mean(taus):.3f}", *intervals]


def _trivial_rows(trivial: Mapping[str, Any]) -> list[list[object]]:
    names = {"random": "random: range of chance"}
    return [
        [names.get(name, name), "", f"{one['kendall_tau']:.3f}", interval(one["tau_interval"]),
         "", "", "", "", *_means([one]), "", ""]
        for name, one in trivial.items()
    ]  # fmt: skip


def _means(rankings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Mean rho, precision at 5 and at 10, regret, and pairs of the same score."""
    cells = [f"{np.mean([one['spearman_rho'] for one in rankings]):.3f}"]
    for k in (5, 10):
        shares = [one["precision_at"].get(k) for one in rankings]
        cells.append("" if None in shares else f"{np.mean(shares):.2f}")
    regret, ties = (np.mean([one[key] for one in rankings]) for key in ("regret", "ties_scores"))
    return [*cells, f"{regret:.3f}", f"{ties:.0f}"]


def _pair_table(here: Mapping[str, Any]) -> str:
    rows = [
        [f"{one['supernet']} − {one['against']}", *_comparison_cells(one),
         f"{one['t_test_p']:.3f}", f"{one['wilcoxon_p']:.3f}", f"{one['tau_between_seeds']:.2f}"]
        for one in here["comparisons"]
    ]  # fmt: skip
    return table(["supernets", *COMPARISON, "p (paired t)", "p (Wilcoxon)", "between seeds"], rows)


def _beyond_table(here: Mapping[str, Any]) -> str:
    rows = [[name, *_comparison_cells(one)] for name, one in here["beyond"].items()]
    return table(["supernet", *COMPARISON], rows)


def _comparison_cells(one: Mapping[str, Any]) -> list[object]:
    difference = one["difference"]
    return [difference["n"], f"{difference['mean']:+.3f}", interval(difference["interval"], "+"),
            interval(one["joint_interval"], "+")]  # fmt: skip


def _candidate_table(candidates: Mapping[str, Any]) -> str:
    """The ground truth and the methods; of variants there is no room."""
    first = next(iter(candidates.values()))
    names = [name for name in ("ground truth", *METHODS) if name in first]
    rows = [
        [candidate, *(f"{taus[name]:+.2f}" for name in names)]
        for candidate, taus in candidates.items()
    ]
    return table(["candidate", *names], rows)


def _setting_table(setting: str, found: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    """Tau by value, and less that of the method of which the others are variants."""
    names = [one["supernets"] for one in found["values"]]
    less = {
        one["supernet"]: (one["against"], _comparison_cells(one))
        for one in here["comparisons"]
        if one["supernet"] in names and one["against"] in names
    }
    rows = []
    for one in found["values"]:
        taus = taus_of(here["supernets"][one["supernets"]], found["seeds"])
        spread = interval(over_seeds(taus).interval) if len(taus) > 1 else ""
        against, cells = less.get(one["supernets"], ("", [""] * len(COMPARISON)))
        rows.append([one["value"], one["supernets"], len(taus), f"{np.mean(taus):.3f}", spread,
                     against, *cells])  # fmt: skip
    return table([label(setting), "supernet", "seeds", "tau", "95 %", "less", *COMPARISON], rows)


def _ceiling_line(ceiling: Mapping[str, Any], unit: str) -> str:
    return (
        f"Noise of the ground truth, from {ceiling['n']} children trained with {ceiling['seeds']} "
        f"seeds: standard deviation {ceiling['spread']:.4f} {unit} a training (median over "
        f"children). Between two seeds tau is {ceiling['tau_between_seeds']:.2f}; perfect scores "
        f"would reach {ceiling['tau_ceiling']:.2f} ({interval(ceiling['tau_ceiling_interval'])})."
    )


def _chosen_line(chosen: Mapping[str, Any]) -> str:
    n_seeds, difference, *intervals = _comparison_cells(chosen)
    ours, theirs = chosen["taus"]
    n_ours, n_theirs = chosen["among"]
    return (
        f"On the first half {chosen['against']} has the highest tau of {n_theirs} settings of "
        f"{METHODS[0]}, {theirs:.3f}, and {chosen['supernet']} of {n_ours} other ones, {ours:.3f} "
        f"({n_seeds} seeds each). On the second half the difference of tau between these two is "
        f"{difference} (95 % {intervals[0]}; children too {intervals[1]}). The supernets are the "
        "same on both halves, so that a lucky seed is lucky on both."
    )


def write(study: Study, settings: argparse.Namespace, arguments: Sequence[str]) -> Path:
    """Write ``<theme>_<hardware>_<date>`` as JSON, Markdown and pictures; gives the JSON's path.

    Raises
    ------
    ValueError
        If there are too few children to rank, scores are not finite or all the same, or a result
        is of another plan.
    """
    record = gather(study)
    found = statistics(record)
    theme = f"rank_correlation_{settings.plan.stem}"
    sections = [f"## {half}\n\n{markdown(record, found, half)}" for half in found["halves"]]
    if chosen := found["chosen"]:
        title = "## Chosen on the first half, reported on the second"
        sections.append(f"{title}\n\n{_chosen_line(chosen)}")
    path, _ = write_report(
        theme, settings, arguments, {**record, "statistics": found}, "\n\n".join(sections),
        program="experiments.studies.ranking",
    )  # fmt: skip
    pictures.draw(record, found, path.with_suffix(""))
    return path
