"""The numbers of a study of rank correlation: rankings, comparisons, and the ceiling of noise."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from experiments.studies.gathered import ranked_children
from experiments.studies.ranking.comparisons import (
    METHODS,
    Scores,
    beyond,
    chosen,
    comparisons,
    mean_tau,
    of_children,
)
from experiments.studies.ranking.preferences import by_anchor, by_candidate, changes
from nni_magic.analysis import ranking, seeds
from nni_magic.analysis.ranking import TOP_K
from nni_magic.analysis.resampling import FEWEST_CHILDREN
from nni_magic.support.errors import naming

__all__ = ["statistics"]


def statistics(record: Mapping[str, Any]) -> dict[str, Any]:
    """Rank correlation of every supernet and of the trivial rankings; comparisons; the ceiling.

    Parameters
    ----------
    record
        What :func:`~experiments.studies.gathered.gather` gives.

    Returns
    -------
    dict
        ``truth_seeds``: those of which the ground truth is the mean; ``ceiling``; ``settings``:
        name of a setting to the seeds that all its values have, and to the values, each with the
        name of its supernets; ``halves``: name of a half, or ``all``, to what is found on its
        children; ``chosen``: what wins on the first half, compared on the second.

    Raises
    ------
    ValueError
        If there are too few children to rank, or scores are not finite or all the same.
    """
    children, truth, truth_seeds = ranked_children(record)
    numbers = np.array([child["number"] for child in children], dtype=int)
    scores = {
        name: {seed: np.array(found["scores"])[numbers] for seed, found in by_seed.items()}
        for name, by_seed in record["supernets"].items()
    }
    halves = _halves(numbers)
    parts = [halves[half] for half in ("first half", "second half") if half in halves]
    return {
        "truth_seeds": truth_seeds,
        "ceiling": _ceiling(record["plan"], children, len(truth_seeds)),
        "settings": _settings(record),
        "halves": {half: _of_half(record, children, truth, scores, part)
                   for half, part in halves.items()},
        "chosen": chosen(record["plan"], scores, truth, *parts) if len(parts) == 2 else None,
    }  # fmt: skip


def _halves(numbers: np.ndarray) -> dict[str, np.ndarray]:
    """Which children are ranked: settings may be chosen on one half and reported on the other.

    A child is in the half of its number, whichever others are finished. A half of which too few
    are finished is left out.

    >>> _halves(np.array([0, 1, 2, 4]))["first half"].tolist()
    [True, False, True, True]
    """
    parts = {
        "all": np.full(len(numbers), True),
        "first half": numbers % 2 == 0,
        "second half": numbers % 2 == 1,
    }
    return {
        half: part
        for half, part in parts.items()
        if half == "all" or part.sum() >= FEWEST_CHILDREN
    }  # fmt: skip


def _of_half(
    record: Mapping[str, Any], children: Sequence[Mapping[str, Any]], truth: np.ndarray,
    scores: Scores, part: np.ndarray,
) -> dict[str, Any]:  # fmt: skip
    truth = truth[part]
    children = [child for child, here in zip(children, part, strict=True) if here]
    scores = of_children(scores, part)
    by_size = {
        f"{which} {key}": sign * np.array([float(child[key]) for child in children])
        for key in ("params", "flops")
        for which, sign in (("fewest", 1), ("most", -1))
    }
    trivial = {name: _rank(truth, values) for name, values in by_size.items()}
    best = max(trivial, key=lambda name: trivial[name]["kendall_tau"])
    return {
        "n": len(truth),
        "trivial": {
            **trivial,
            "random": dataclasses.asdict(ranking.random_ranking(truth, top_k=_top_k(truth))),
        },
        "supernets": {name: _supernets(name, by_seed, truth) for name, by_seed in scores.items()},
        "comparisons": comparisons(record["plan"], scores, truth),
        "best trivial": best,
        "beyond": beyond(by_size[best], scores, truth),
        "candidates": by_candidate(children, truth, scores),
        "changes": changes(children, scores, METHODS[0]),
        "anchors": by_anchor(record, children, truth, scores, METHODS[0]),
    }


def _supernets(name: str, by_seed: Mapping[str, np.ndarray], truth: np.ndarray) -> dict[str, Any]:
    """Rankings of every seed; with several, also means with intervals."""
    rankings = {}
    for seed, scores in by_seed.items():
        with naming(f"supernet {name!r}, seed {seed}"):
            rankings[seed] = _rank(truth, scores)
    found = {
        "seeds": rankings,
        "mean_loss": {seed: float(scores.mean()) for seed, scores in by_seed.items()},
        "kendall_tau": None,
        "joint_interval": None,
        "tau_between_seeds": None,
        "tau_of_mean": None,
    }
    if len(rankings) > 1:
        every = np.array(list(by_seed.values()))
        taus = [one["kendall_tau"] for one in rankings.values()]
        found["kendall_tau"] = dataclasses.asdict(seeds.over_seeds(taus))
        found["joint_interval"] = seeds.joint_interval(truth, every)
        found["tau_between_seeds"] = mean_tau(combinations(every, 2))
        found["tau_of_mean"] = mean_tau([(truth, every.mean(axis=0))])
    return found


def _ceiling(
    plan: Mapping[str, Any], children: Sequence[Mapping[str, Any]], runs: int
) -> dict[str, Any] | None:
    wanted = [str(seed) for seed in plan["children"]["seeds"]]
    repeated = [
        [child["truth"][seed] for seed in wanted]
        for child in children
        if len(wanted) > 1 and child["truth"].keys() >= set(wanted)
    ]
    if len(repeated) < FEWEST_CHILDREN:
        return None
    return dataclasses.asdict(seeds.noise_ceiling(repeated, runs=runs))


def _settings(record: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Values of every setting in ascending order, of the supernets that there are."""
    found: dict[str, list[dict[str, Any]]] = {}
    for name, supernets in record["plan"]["supernets"].items():
        if name in record["supernets"]:
            for setting, value in supernets["values"].items():
                found.setdefault(setting, []).append({"value": value, "supernets": name})
    return {
        setting: {
            "seeds": _common([record["supernets"][one["supernets"]] for one in values]),
            "values": sorted(values, key=lambda one: one["value"]),
        }
        for setting, values in found.items()
    }


def _common(by_seed: Sequence[Mapping[str, Any]]) -> list[str]:
    """Seeds that all have."""
    first, *others = by_seed
    return [seed for seed in first if all(seed in other for other in others)]


def _rank(truth: np.ndarray, scores: np.ndarray) -> dict[str, Any]:
    return dataclasses.asdict(ranking.rank(truth, scores, top_k=_top_k(truth)))


def _top_k(truth: np.ndarray) -> list[int]:
    return [k for k in TOP_K if k <= len(truth)]
