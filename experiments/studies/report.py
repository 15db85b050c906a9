"""What a study of rank correlation has found so far: tables and pictures."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nni_magic.analysis import plots

# isort: split
import numpy as np

from experiments.benchmarks.reporting import table, write_report
from experiments.studies.statistics import METHODS, gather, ranked_children, statistics
from experiments.studies.study import Study

__all__ = ["markdown", "write"]


def markdown(record: Mapping[str, Any], found: Mapping[str, Any], half: str) -> str:
    """Tables for reading.

    Parameters
    ----------
    record, found
        What ``gather`` and ``statistics`` give.
    half
        Which children.
    """
    here = found["halves"][half]
    children = record["plan"]["children"]
    sections = [
        f"{here['n']} of {children['n']} children, trained from scratch for {children['steps']} "
        f"steps; the ground truth is the mean of {len(found['truth'])} training(s). tau is "
        "Kendall's tau-b of validation losses; its interval is Student's, 95 %, over seeds, and "
        "beside it that over seeds and children. Of trivial rankings it is over children, and of "
        "the random one the range in which chance falls. Between seeds: mean tau of scores with "
        "those of a supernet of another seed, in the table of pairs one of each method. Of mean: "
        "tau of the scores' means over seeds.",
        table(
            ["ranking", "seeds", "tau", "95 %", "95 %, children too", "std over seeds",
             "between seeds", "of mean", "rho", "precision@5", "precision@10", "regret (nats)",
             "mean loss (nats)", "CPU s"],
            [*_method_rows(record, here["supernets"]), *_trivial_rows(here["trivial"])],
        ),
    ]  # fmt: skip
    if here["comparisons"]:
        sections += ["Pairs of supernets, over the seeds that both have:", _pair_table(here)]
    if any(one["beyond"] for one in here["supernets"].values()):
        sections += [
            "Against trivial rankings, difference of tau with Student's 95 % interval over seeds:",
            _beyond_table(here),
        ]
    for setting, values in _several(found["settings"]).items():
        sections += [f"By {_label(setting)}:", _setting_table(setting, values, here["supernets"])]
    if half == "all" and (ceiling := found["ceiling"]):
        sections += [_ceiling_line(ceiling)]
    return "\n\n".join(sections)


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
        intervals = [_interval(tau["interval"]), _interval(found["joint_interval"])]
    return [len(taus), f"{np.mean(taus):.3f}", *intervals]


def _trivial_rows(trivial: Mapping[str, Any]) -> list[list[object]]:
    names = {"random": "random: range of chance"}
    return [
        [names.get(name, name), "", f"{one['kendall_tau']:.3f}", _interval(one["tau_interval"]),
         "", "", "", "", *_means([one]), "", ""]
        for name, one in trivial.items()
    ]  # fmt: skip


def _means(rankings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Mean rho, precision at 5 and at 10, and regret."""
    cells = [f"{np.mean([one['spearman_rho'] for one in rankings]):.3f}"]
    for k in (5, 10):
        shares = [one["precision_at"].get(k) for one in rankings]
        cells.append("" if None in shares else f"{np.mean(shares):.2f}")
    return [*cells, f"{np.mean([one['regret'] for one in rankings]):.3f}"]


def _pair_table(here: Mapping[str, Any]) -> str:
    rows = [
        [f"{one['supernet']} − {one['against']}", one["difference"]["n"],
         *_difference_cells(one["difference"]), _interval(one["joint_interval"]),
         f"{one['t_test_p']:.3f}", f"{one['wilcoxon_p']:.3f}", f"{one['tau_between_seeds']:.2f}"]
        for one in here["comparisons"]
    ]  # fmt: skip
    return table(
        ["supernets", "seeds", "difference of tau", "95 %", "95 %, children too", "p (paired t)",
         "p (Wilcoxon)", "between seeds"],
        rows,
    )  # fmt: skip


def _beyond_table(here: Mapping[str, Any]) -> str:
    beyond = {name: one["beyond"] for name, one in here["supernets"].items() if one["beyond"]}
    trivial = list(next(iter(beyond.values())))
    header = ["supernet", *(cell for other in trivial for cell in (f"− {other}", "95 %"))]
    return table(
        header,
        [[name, *(cell for other in trivial for cell in _difference_cells(found[other]))]
         for name, found in beyond.items()],
    )  # fmt: skip


def _difference_cells(one: Mapping[str, Any]) -> list[str]:
    return [f"{one['mean']:+.3f}", _interval(one["interval"])]


def _setting_table(
    setting: str, values: Sequence[Mapping[str, Any]], supernets: Mapping[str, Any]
) -> str:
    return table(
        [_label(setting), "supernet", "seeds", "tau", "95 %", "95 %, children too"],
        [[one["value"], one["supernets"], *_tau_cells(supernets[one["supernets"]])]
         for one in values],
    )  # fmt: skip


def _several(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out the settings of which only one value is trained yet."""
    return {setting: values for setting, values in settings.items() if len(values) > 1}


def _label(setting: str) -> str:
    return setting.replace("_", " ")


def _ceiling_line(ceiling: Mapping[str, Any]) -> str:
    return (
        f"Noise of the ground truth, from {ceiling['n']} children trained with {ceiling['seeds']} "
        f"seeds: standard deviation {ceiling['spread']:.4f} nats a training (median over "
        f"children). Between two seeds tau is {ceiling['tau_between_seeds']:.2f}; perfect scores "
        f"would reach {ceiling['tau_ceiling']:.2f} ({_interval(ceiling['tau_ceiling_interval'])})."
    )


def _interval(ends: Sequence[float]) -> str:
    return f"{ends[0]:.3f} to {ends[1]:.3f}"


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
    path, _ = write_report(
        theme, settings, arguments, {**record, "statistics": found}, "\n\n".join(sections),
        program="experiments.rank_correlation",
    )  # fmt: skip
    _draw_methods(record, found, path.with_suffix(""))
    _draw_settings(record, found, path.with_suffix(""))
    return path


def _draw_methods(record: Mapping[str, Any], found: Mapping[str, Any], stem: Path) -> None:
    """Draw the methods, and supernets that are in no picture of a setting."""
    here, planned = found["halves"]["all"], record["plan"]["supernets"]
    taus = {
        name: _taus(one)
        for name, one in here["supernets"].items()
        if name in METHODS or not planned.get(name, {}).get("values")
    }
    if not taus:
        return
    dots = {}
    for name, by_seed in taus.items():
        # A single seed has no interval: drawn twice, it has one of no length.
        several, label = len(by_seed) > 1, name.replace(", ", "\n")
        dots[label if several else f"{label}\n(1 seed)"] = by_seed if several else 2 * by_seed
    trivial = {n: one["kendall_tau"] for n, one in here["trivial"].items() if n != "random"}
    ceiling = found["ceiling"] and found["ceiling"]["tau_ceiling"]
    plots.tau_by_method(dots, stem, trivial=trivial, ceiling=ceiling)
    children, truth, _ = ranked_children(record)
    numbers = [child["number"] for child in children]
    firsts = {name: next(iter(record["supernets"][name].items())) for name in taus}
    plots.score_against_truth(
        truth,
        {f"{name}, seed {seed}": np.array(one["scores"])[numbers]
         for name, (seed, one) in firsts.items()},
        stem.with_name(f"{stem.name}_scores"),
        truth_label="validation loss, trained from scratch (nats)",
        score_label="with inherited weights (nats)",
    )  # fmt: skip


def _draw_settings(record: Mapping[str, Any], found: Mapping[str, Any], stem: Path) -> None:
    """Draw tau against every setting of which two values have two seeds each."""
    supernets, planned = found["halves"]["all"]["supernets"], record["plan"]["supernets"]
    for setting, values in found["settings"].items():
        taus = {one["value"]: _taus(supernets[one["supernets"]]) for one in values}
        taus = {value: by_seed for value, by_seed in taus.items() if len(by_seed) > 1}
        if len(taus) > 1:
            strategies = dict.fromkeys(planned[one["supernets"]]["strategy"] for one in values)
            path = stem.with_name(f"{stem.name}_{setting}")
            plots.tau_by_setting({", ".join(strategies): taus}, path, setting=_label(setting))


def _taus(found: Mapping[str, Any]) -> list[float]:
    return [one["kendall_tau"] for one in found["seeds"].values()]
