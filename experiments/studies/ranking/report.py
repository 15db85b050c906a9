"""What a study of rank correlation has found so far: tables and pictures."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import scipy.stats

from experiments.benchmarks.reporting import table, write_report
from experiments.studies.cells import interval
from experiments.studies.gathered import Gathered, gather
from experiments.studies.ranking import outcome, pictures
from experiments.studies.ranking.comparisons import METHODS, Chosen
from experiments.studies.ranking.outcome import Beside
from experiments.studies.ranking.pictures import label, several, taus_of
from experiments.studies.ranking.preferences import anchor_table, change_table
from experiments.studies.ranking.statistics import (
    Half,
    RankedSupernets,
    Setting,
    Statistics,
    statistics,
)
from experiments.studies.ranking.trivial import zero_cost_by_seed
from experiments.studies.results import Results
from nni_magic.analysis.ranking import Ranking
from nni_magic.analysis.seeds import Comparison, NoiseCeiling, over_seeds

__all__ = ["markdown", "write"]

COMPARISON = ("seeds", "difference of tau", "95 %", "95 %, children too")
CHANGE = f"the change of a child's loss from {METHODS[0]} of the same seed"


def markdown(record: Gathered, found: Statistics, half: str) -> str:
    """Write the tables of one half of the children.

    Parameters
    ----------
    record, found
        What :func:`~experiments.studies.gathered.gather` and :func:`.statistics.statistics` give.
    half
        Its name, or ``all``.
    """
    here, unit = found.halves[half], record.ground_truth.unit
    sections = [
        f"{_truth_line(record, found, here.n)} tau is Kendall's tau-b of it with the validation "
        "loss with inherited weights; its interval is Student's, 95 %, over seeds, and "
        "beside it that over seeds and children. Of trivial rankings it is over children, and of "
        "the random one the range in which chance falls. Between seeds: mean tau of scores with "
        "those of a supernet of another seed, in the table of pairs one of each method. Of mean: "
        "tau of the scores' means over seeds. CPU seconds are of whichever machine has trained.",
        _ranking_table(record, here),
        *_zero_cost_lines(record, half),
        *_comparison_sections(here),
        *_preference_sections(here),
    ]  # fmt: skip
    for setting, values in several(found.settings).items():
        sections += [f"By {label(setting)}, over the seeds that all values have:",
                     _setting_table(setting, values, here)]  # fmt: skip
    if half == "all" and found.ceiling:
        sections += [_ceiling_line(found.ceiling, unit)]
    return "\n\n".join(sections)


def _zero_cost_lines(record: Gathered, half: str) -> list[str]:
    """What zero-cost scores are worth with one seed, if they are means over several."""
    ranked = record.ranked()
    taus = {
        name: [float(scipy.stats.kendalltau(ranked.truth, -one).statistic) for one in by_seed]
        for name, by_seed in zero_cost_by_seed(ranked.children).items()
        if len(by_seed) > 1
    }
    if half != "all" or not taus:
        return []
    n_seeds = len(next(iter(taus.values())))
    cells = [[name, f"{np.mean(one):.3f}", f"{min(one):.3f} to {max(one):.3f}"]
             for name, one in taus.items()]  # fmt: skip
    return [
        f"Scores before training are means over {n_seeds} seeds, each of other first weights and "
        "another batch. With one of them alone tau is, on average and from the lowest to the "
        "highest:",
        table(["most", "tau", "range"], cells),
    ]


def _comparison_sections(here: Half) -> list[str]:
    """Supernets compared with each other, and with the best trivial ranking."""
    sections = []
    if here.comparisons:
        sections += [
            "Pairs of supernets, over the seeds that both have; intervals and p-values are not "
            "corrected for how many pairs there are:",
            _pair_table(here),
        ]
    if here.beyond:
        sections += [
            f"Against the best trivial ranking, {here.best_trivial}, which is known to be the "
            "best only by the ground truth:",
            table(["supernet", *COMPARISON],
                  [[name, *_comparison_cells(one)] for name, one in here.beyond.items()]),
        ]  # fmt: skip
    return sections


def _preference_sections(here: Half) -> list[str]:
    """Candidates, and likeness to the anchor, that methods like."""
    sections = []
    if here.candidates:
        sections += [
            "Which candidates are liked: tau of a child's number of blocks with a candidate with "
            "the ground truth, and with its loss with inherited weights (mean over seeds):",
            _candidate_table(here.candidates),
        ]
    if here.changes:
        sections += [
            "Which candidates a method likes more or less: what a further block with one adds to "
            f"{CHANGE}, in thousandths of a nat (Theil and Sen's slope; mean over seeds and "
            "Student's interval); negative where children with it are better off:",
            change_table(here.changes),
        ]
    if here.anchors:
        sections += [
            "Whether alignment favours the anchor's relatives: tau of a child's distance from the "
            f"last anchor with the ground truth (deserved), and with {CHANGE} (favoured); mean "
            "over seeds and Student's interval; positive where relatives are better off:",
            anchor_table(here.anchors),
        ]
    return sections


def _truth_line(record: Gathered, found: Statistics, n: int) -> str:
    children = record.plan.children
    trained = (
        f" for {children.steps} steps (mean of {len(found.truth_seeds)} training(s))"
        if children.steps
        else ""
    )
    name = record.ground_truth.name
    return f"{n} of {children.n} children; the ground truth is the {name}{trained}."


def _ranking_table(record: Gathered, here: Half) -> str:
    """How well supernets and trivial rankings rank children."""
    header = [
        "ranking", "seeds", "tau", "95 %", "95 %, children too", "std over seeds", "between seeds",
        "of mean", "rho", "precision@5", "precision@10", f"regret ({record.ground_truth.unit})",
        "tied pairs", "mean loss (nats)", "CPU s",
    ]  # fmt: skip
    rows = []
    for name, found in here.supernets.items():
        seconds = [one["cpu_seconds"] for one in record.supernets[name].values()]
        rows.append([
            name, *_tau_cells(found), *_means(found.seeds.values()),
            f"{np.mean(list(found.mean_loss.values())):.3f}", f"{np.mean(seconds):.0f}",
        ])  # fmt: skip
    names = {"random": "random: range of chance"}
    rows += [
        [names.get(name, name), "", f"{one.kendall_tau:.3f}", interval(one.tau_interval),
         "", "", "", "", *_means([one]), "", ""]
        for name, one in here.trivial.items()
    ]  # fmt: skip
    return table(header, rows)


def _tau_cells(found: RankedSupernets) -> list[object]:
    """Seeds, mean tau, and what several seeds tell of it."""
    taus = [one.kendall_tau for one in found.seeds.values()]
    cells: list[object] = [len(taus), f"{np.mean(taus):.3f}"]
    if found.kendall_tau is None or found.joint_interval is None:
        return [*cells, "", "", "", "", ""]
    return [
        *cells, interval(found.kendall_tau.interval), interval(found.joint_interval),
        f"{found.kendall_tau.std:.3f}", f"{found.tau_between_seeds:.2f}",
        f"{found.tau_of_mean:.2f}",
    ]  # fmt: skip


def _means(rankings: Iterable[Ranking]) -> list[str]:
    """Mean rho, precision at 5 and at 10, regret, and pairs of the same score."""
    every = list(rankings)
    cells = [f"{np.mean([one.spearman_rho for one in every]):.3f}"]
    for k in (5, 10):
        shares = [one.precision_at[k] for one in every if k in one.precision_at]
        cells.append(f"{np.mean(shares):.2f}" if shares else "")
    return [
        *cells,
        f"{np.mean([one.regret for one in every]):.3f}",
        f"{np.mean([one.ties_scores for one in every]):.0f}",
    ]


def _pair_table(here: Half) -> str:
    rows = [
        [f"{one.supernet} − {one.against}", *_comparison_cells(one),
         f"{one.t_test_p:.3f}", f"{one.wilcoxon_p:.3f}", f"{one.tau_between_seeds:.2f}"]
        for one in here.comparisons
    ]  # fmt: skip
    return table(["supernets", *COMPARISON, "p (paired t)", "p (Wilcoxon)", "between seeds"], rows)


def _comparison_cells(one: Comparison) -> list[object]:
    difference = one.difference
    return [difference.n, f"{difference.mean:+.3f}", interval(difference.interval, "+"),
            interval(one.joint_interval, "+")]  # fmt: skip


def _candidate_table(candidates: Mapping[str, Mapping[str, float]]) -> str:
    """The ground truth and the methods; of variants there is no room."""
    first = next(iter(candidates.values()))
    names = [name for name in ("ground truth", *METHODS) if name in first]
    rows = [
        [candidate, *(f"{taus[name]:+.2f}" for name in names)]
        for candidate, taus in candidates.items()
    ]
    return table(["candidate", *names], rows)


def _setting_table(setting: str, found: Setting, here: Half) -> str:
    """Tau by value, and its difference from the method that the others are variants of."""
    names = [one.supernets for one in found.values]
    less = {
        one.supernet: (one.against, _comparison_cells(one))
        for one in here.comparisons
        if one.supernet in names and one.against in names
    }
    rows = []
    for one in found.values:
        taus = taus_of(here.supernets[one.supernets], found.seeds)
        spread = interval(over_seeds(taus).interval) if len(taus) > 1 else ""
        against, cells = less.get(one.supernets, ("", [""] * len(COMPARISON)))
        rows.append([one.value, one.supernets, len(taus), f"{np.mean(taus):.3f}", spread,
                     against, *cells])  # fmt: skip
    return table([label(setting), "supernet", "seeds", "tau", "95 %", "less", *COMPARISON], rows)


def _ceiling_line(ceiling: NoiseCeiling, unit: str) -> str:
    return (
        f"Noise of the ground truth, from {ceiling.n} children trained with {ceiling.seeds} "
        f"seeds: standard deviation {ceiling.spread:.4f} {unit} a training (median over "
        f"children). Between two seeds tau is {ceiling.tau_between_seeds:.2f}; perfect scores "
        f"would reach {ceiling.tau_ceiling:.2f} ({interval(ceiling.tau_ceiling_interval)})."
    )


def _chosen_line(chosen: Chosen) -> str:
    n_seeds, difference, *intervals = _comparison_cells(chosen)
    ours, theirs = chosen.taus
    n_ours, n_theirs = chosen.among
    return (
        f"On the first half {chosen.against} has the highest tau of {n_theirs} settings of "
        f"{METHODS[0]}, {theirs:.3f}, and {chosen.supernet} of {n_ours} other ones, {ours:.3f} "
        f"({n_seeds} seeds each). On the second half the difference of tau between these two is "
        f"{difference} (95 % {intervals[0]}; children too {intervals[1]}). The supernets are the "
        "same on both halves, so that a lucky seed is lucky on both."
    )


def write(
    results: Results, settings: argparse.Namespace, arguments: Sequence[str], beside: Beside
) -> Path:
    """Write ``<theme>_<hardware>_<date>`` as JSON, Markdown and pictures; gives the JSON's path.

    Parameters
    ----------
    results
        Of the study. If its plan compares methods, there is a table and a picture of them all.
    settings, arguments
        The command line, read and as it was.
    beside
        What was measured of supernets besides, as far as it is there.

    Raises
    ------
    ValueError
        If there are too few children to rank, scores are not finite or all the same, or a result
        is of another plan.
    """
    record = gather(results)
    found = statistics(record)
    sections = [f"## {half}\n\n{markdown(record, found, half)}" for half in found.halves]
    if found.chosen:
        title = "## Chosen on the first half, reported on the second"
        sections.append(f"{title}\n\n{_chosen_line(found.chosen)}")
    if record.plan.comparison and record.supernets:
        everything = outcome.markdown(record, found.halves["all"], beside)
        sections.insert(0, everything)
    path, _ = write_report(
        f"rank_correlation_{settings.plan.stem}", settings, arguments,
        {**record.to_json(), "statistics": found.to_json(), **beside},
        "\n\n".join(sections), program="experiments.studies.ranking",
    )  # fmt: skip
    pictures.draw(record, found, path.with_suffix(""))
    if record.plan.comparison and record.supernets:
        outcome.draw(record, found, beside, path.with_suffix(""))
    return path
