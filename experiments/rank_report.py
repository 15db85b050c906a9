"""What a study of rank correlation has found so far: numbers, tables and pictures."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nni_magic.analysis import plots, ranking, seeds
from nni_magic.files import read_json

# isort: split
import numpy as np

from experiments.benchmarks.reporting import table, write_report
from experiments.rank_study import Study

__all__ = ["gather", "statistics", "write"]

BASELINE = "spos"
TOP_K = (1, 5, 10)
# Which children: settings may be chosen on the first half, and are then reported on the other.
# A half is every second child, so that both grow alike while the study runs.
HALVES = {
    "all": slice(None), "first half": slice(None, None, 2), "second half": slice(1, None, 2)
}  # fmt: skip


def gather(study: Study) -> dict[str, Any]:
    """Collect the results that there are.

    Returns
    -------
    dict
        ``children``: for each that is trained its sample, size and ground truth by seed;
        ``supernets``: name to seed to what was found with it. Scores with the BatchNorm
        statistics of the training, not taken anew for every child, come as ``uncalibrated``.
    """
    children: dict[int, dict[str, Any]] = {}
    for number, seed in study.plan.trainings():
        if (found := read_json(study.child_file(number, seed))) is None:
            continue
        child = children.setdefault(
            number,
            {"number": number, **{k: found[k] for k in ("sample", "params", "flops")},
             "val_loss": {}, "val_accuracy": {}, "cpu_seconds": {}},
        )  # fmt: skip
        for key in ("val_loss", "val_accuracy", "cpu_seconds"):
            child[key][str(seed)] = found[key]
    supernets: dict[str, dict[str, Any]] = {}
    for name, settings in study.plan.supernets.items():
        found_by_seed = {
            str(seed): found
            for seed in settings.seeds
            if (found := read_json(study.supernet_file(name, seed))) is not None
        }
        if found_by_seed:
            supernets[name] = found_by_seed
        uncalibrated = {
            seed: {**found, "scores": found["uncalibrated"]}
            for seed, found in found_by_seed.items()
            if "uncalibrated" in found
        }
        if uncalibrated:
            supernets[f"{name}, uncalibrated"] = uncalibrated
    return {
        "plan": dataclasses.asdict(study.plan),
        "children": [children[number] for number in sorted(children)],
        "supernets": supernets,
    }


def statistics(record: Mapping[str, Any]) -> dict[str, Any]:
    """Rank correlation of every supernet and of the trivial rankings; comparisons; the ceiling.

    Parameters
    ----------
    record
        What :func:`gather` gives.

    Raises
    ------
    ValueError
        If there are too few children to rank.
    """
    plan, children = record["plan"], record["children"]
    first = str(plan["children"]["seeds"][0])
    children = [child for child in children if first in child["val_loss"]]
    truth = np.array([child["val_loss"][first] for child in children])
    numbers = [child["number"] for child in children]
    return {
        "ceiling": _ceiling(plan, children, truth),
        "trivial": {
            half: {name: dataclasses.asdict(found) for name, found in rankings.items()}
            for half, rankings in _trivial(children, truth).items()
        },
        "supernets": {
            name: _supernets(by_seed, truth, numbers)
            for name, by_seed in record["supernets"].items()
        },
        "comparisons": _comparisons(record["supernets"], truth, numbers),
    }


def _ceiling(
    plan: Mapping[str, Any], children: Sequence[Mapping[str, Any]], truth: np.ndarray
) -> dict[str, Any] | None:
    wanted = [str(seed) for seed in plan["children"]["seeds"]]
    repeated = [
        [child["val_loss"][seed] for seed in wanted]
        for child in children
        if len(wanted) > 1 and child["val_loss"].keys() >= set(wanted)
    ]
    if len(repeated) < 3:
        return None
    spread = float(truth.std(ddof=1))
    return {"spread": spread, **dataclasses.asdict(seeds.noise_ceiling(repeated, spread=spread))}


def _trivial(
    children: Sequence[Mapping[str, Any]], truth: np.ndarray
) -> dict[str, dict[str, ranking.Ranking]]:
    sizes = {
        key: -np.array([float(child[key]) for child in children]) for key in ("params", "flops")
    }
    return {
        half: {
            **{
                f"most {key}": ranking.rank(truth[part], size[part], top_k=_top_k(truth[part]))
                for key, size in sizes.items()
            },
            "random": ranking.random_ranking(truth[part], top_k=_top_k(truth[part])),
        }
        for half, part in HALVES.items()
    }


def _supernets(
    by_seed: Mapping[str, Mapping[str, Any]], truth: np.ndarray, numbers: Sequence[int]
) -> dict[str, Any]:
    scores = {seed: np.array(found["scores"])[numbers] for seed, found in by_seed.items()}
    found: dict[str, Any] = {
        "mean_loss": {seed: float(values.mean()) for seed, values in scores.items()},
        "cpu_seconds": {seed: found["cpu_seconds"] for seed, found in by_seed.items()},
    }
    for half, part in HALVES.items():
        rankings = {
            seed: ranking.rank(truth[part], values[part], top_k=_top_k(truth[part]))
            for seed, values in scores.items()
        }
        taus = [one.kendall_tau for one in rankings.values()]
        found[half] = {
            "seeds": {seed: dataclasses.asdict(one) for seed, one in rankings.items()},
            "kendall_tau": dataclasses.asdict(seeds.over_seeds(taus)) if len(taus) > 1 else None,
        }
    return found


def _comparisons(
    supernets: Mapping[str, Any], truth: np.ndarray, numbers: Sequence[int]
) -> dict[str, Any]:
    """Every method with the baseline, over the seeds that both have."""
    comparisons: dict[str, Any] = {}
    for name, by_seed in supernets.items():
        common = [seed for seed in by_seed if seed in supernets.get(BASELINE, {})]
        if name == BASELINE or len(common) < 2:
            continue
        base, other = (
            np.array([np.array(supernets[n][seed]["scores"])[numbers] for seed in common])
            for n in (BASELINE, name)
        )
        comparisons[name] = {
            half: dataclasses.asdict(seeds.compare(truth[part], base[:, part], other[:, part]))
            for half, part in HALVES.items()
        }
    return comparisons


def _top_k(truth: np.ndarray) -> list[int]:
    return [k for k in TOP_K if k <= len(truth)]


def markdown(record: Mapping[str, Any], found: Mapping[str, Any], half: str) -> str:
    """Tables for reading."""
    children = record["children"]
    lines = [
        f"{len(children)} children trained from scratch, {record['plan']['children']['steps']} "
        "steps each. tau is Kendall's tau-b of validation losses; its interval is Student's, "
        f"95 %, over seeds (of trivial rankings: over children). Children: {half}.",
        "",
        table(
            ["ranking", "seeds", "tau", "95 %", "std over seeds", "rho", "precision@5",
             "precision@10", "regret (nats)", "mean loss (nats)", "CPU s"],
            [*_method_rows(found["supernets"], half), *_trivial_rows(found["trivial"][half])],
        ),
    ]  # fmt: skip
    if found["comparisons"]:
        lines += ["", f"Against {BASELINE}, the same seeds:", "", _comparison_table(found, half)]
    if ceiling := found["ceiling"]:
        lines += ["", _ceiling_line(ceiling)]
    return "\n".join(lines)


def _method_rows(supernets: Mapping[str, Any], half: str) -> list[list[object]]:
    rows: list[list[object]] = []
    for name, found in supernets.items():
        every = list(found[half]["seeds"].values())
        tau = found[half]["kendall_tau"]
        rows.append([
            name, len(every), f"{np.mean([one['kendall_tau'] for one in every]):.3f}",
            _interval(tau["interval"]) if tau else "", f"{tau['std']:.3f}" if tau else "",
            *_means(every), f"{np.mean(list(found['mean_loss'].values())):.3f}",
            f"{np.mean(list(found['cpu_seconds'].values())):.0f}",
        ])  # fmt: skip
    return rows


def _trivial_rows(trivial: Mapping[str, Any]) -> list[list[object]]:
    return [
        [name, "", f"{one['kendall_tau']:.3f}", _interval(one["tau_interval"]), "",
         *_means([one]), "", ""]
        for name, one in trivial.items()
    ]  # fmt: skip


def _means(rankings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Mean rho, precision at 5 and at 10, and regret."""
    cells = [f"{np.mean([one['spearman_rho'] for one in rankings]):.3f}"]
    for k in (5, 10):
        shares = [one["precision_at"].get(k) for one in rankings]
        cells.append("" if None in shares else f"{np.mean(shares):.2f}")
    return [*cells, f"{np.mean([one['regret'] for one in rankings]):.3f}"]


def _comparison_table(found: Mapping[str, Any], half: str) -> str:
    rows = []
    for name, by_half in found["comparisons"].items():
        one = by_half[half]
        rows.append([
            name, one["difference"]["n"], f"{one['difference']['mean']:+.3f}",
            _interval(one["difference"]["interval"]), f"{one['t_test_p']:.3f}",
            _interval(one["joint_interval"]),
        ])  # fmt: skip
    return table(
        ["supernet", "seeds", "difference of tau", "95 % over seeds", "p (paired t)",
         "95 % over seeds and children"],
        rows,
    )  # fmt: skip


def _ceiling_line(ceiling: Mapping[str, Any]) -> str:
    return (
        f"Noise of the ground truth, from {ceiling['n']} children trained with {ceiling['seeds']} "
        f"seeds: standard deviation {ceiling['within'] ** 0.5:.4f} nats, among children "
        f"{ceiling['spread']:.4f}. Between two seeds tau is {ceiling['tau_between_seeds']:.2f}; "
        f"perfect scores would reach {ceiling['tau_ceiling']:.2f} "
        f"({_interval(ceiling['tau_ceiling_interval'])})."
    )


def _interval(ends: Sequence[float]) -> str:
    return f"{ends[0]:.3f} to {ends[1]:.3f}"


def write(study: Study, settings: argparse.Namespace, arguments: Sequence[str]) -> Path:
    """Write ``<theme>_<hardware>_<date>`` as JSON, Markdown and pictures; gives the JSON's path.

    Raises
    ------
    ValueError
        If there are too few children to rank.
    """
    record = gather(study)
    found = statistics(record)
    theme = f"rank_correlation_{settings.plan.stem}"
    sections = [f"## {half}\n\n{markdown(record, found, half)}" for half in HALVES]
    path, _ = write_report(
        theme, settings, arguments, {**record, "statistics": found}, "\n\n".join(sections),
        program="experiments.rank_correlation",
    )  # fmt: skip
    if record["supernets"]:
        _draw(record, found, path.with_suffix(""))
    return path


def _draw(record: Mapping[str, Any], found: Mapping[str, Any], stem: Path) -> None:
    taus = {
        name: [one["kendall_tau"] for one in supernets["all"]["seeds"].values()]
        for name, supernets in found["supernets"].items()
    }
    trivial = {n: one["kendall_tau"] for n, one in found["trivial"]["all"].items() if n != "random"}
    ceiling = found["ceiling"] and found["ceiling"]["tau_ceiling"]
    plots.tau_by_method(taus, stem, trivial=trivial, ceiling=ceiling)
    first = str(record["plan"]["children"]["seeds"][0])
    children = [child for child in record["children"] if first in child["val_loss"]]
    numbers = [child["number"] for child in children]
    plots.score_against_truth(
        [child["val_loss"][first] for child in children],
        {
            f"{name}, seed {seed}": np.array(by_seed[seed]["scores"])[numbers]
            for name, by_seed in record["supernets"].items()
            for seed in list(by_seed)[:1]
        },
        stem.with_name(f"{stem.name}_scores"),
        truth_label="validation loss, trained from scratch (nats)",
        score_label="with inherited weights (nats)",
    )
