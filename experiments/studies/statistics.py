"""The numbers of a study of rank correlation: gathered from its files, ranked, and compared."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations, permutations
from typing import Any

from nni_magic.analysis import ranking, seeds
from nni_magic.errors import naming

# isort: split
import numpy as np
import scipy.stats

from experiments.studies.study import Study

__all__ = ["FEWEST_CHILDREN", "METHODS", "gather", "ranked_children", "statistics"]

METHODS = ("spos", "magic_t", "magic_a", "magic_at")
"""Names of the supernets that are the study's subject; with the first all others are compared."""
FURTHER_PAIRS = (("magic_t", "magic_at"), ("magic_a", "magic_at"))
TOP_K = (1, 5, 10)
FEWEST_CHILDREN = 3
UNCALIBRATED = ", uncalibrated"

Scores = Mapping[str, Mapping[str, np.ndarray]]  # supernet to seed to scores, (n,)


def gather(study: Study) -> dict[str, Any]:
    """Collect the results that there are.

    Returns
    -------
    dict
        ``children``: for each that is trained its sample, size and ground truth by seed;
        ``supernets``: name to seed to what was found with it. Scores with the BatchNorm
        statistics of the training, not taken anew for every child, come as ``uncalibrated``.
        Supernets that have not scored all children yet are left out.

    Raises
    ------
    ValueError
        If a result is of another plan.
    """
    supernets: dict[str, dict[str, Any]] = {}
    for name, settings in study.plan.supernets.items():
        by_seed = {
            str(seed): found
            for seed in settings.seeds
            if (found := study.read_supernet(name, seed)) is not None
            and len(found["scores"]) >= len(study.children)
        }
        uncalibrated = {
            seed: {**found, "scores": found["uncalibrated"]}
            for seed, found in by_seed.items()
            if "uncalibrated" in found
        }
        supernets |= {name: by_seed, f"{name}{UNCALIBRATED}": uncalibrated}
    return {
        "plan": dataclasses.asdict(study.plan),
        "children": _children(study),
        "supernets": {name: by_seed for name, by_seed in supernets.items() if by_seed},
    }


def _children(study: Study) -> list[dict[str, Any]]:
    children: dict[int, dict[str, Any]] = {}
    for number, seed in study.plan.trainings():
        if (found := study.read_child(number, seed)) is None:
            continue
        child = children.setdefault(
            number,
            {"number": number, "sample": study.children[number], "params": found["params"],
             "flops": found["flops"], "val_loss": {}, "val_accuracy": {}, "cpu_seconds": {}},
        )  # fmt: skip
        for key in ("val_loss", "val_accuracy", "cpu_seconds"):
            child[key][str(seed)] = found[key]
    return [children[number] for number in sorted(children)]


def ranked_children(
    record: Mapping[str, Any],
) -> tuple[list[Mapping[str, Any]], np.ndarray, list[str]]:
    """Find the children that are trained, and what is known of how good they are.

    Returns
    -------
    children
        Those with a ground truth of the first seed.
    truth
        Mean loss over the seeds with which all of these are trained, ``(n,)`` in nats.
    seeds
        These seeds.
    """
    first, *others = map(str, record["plan"]["children"]["seeds"])
    children = [child for child in record["children"] if first in child["val_loss"]]
    common = [
        seed for seed in (first, *others) if all(seed in child["val_loss"] for child in children)
    ]
    losses = [[child["val_loss"][seed] for seed in common] for child in children]
    return children, np.mean(losses, axis=1) if losses else np.array([]), common


def statistics(record: Mapping[str, Any]) -> dict[str, Any]:
    """Rank correlation of every supernet and of the trivial rankings; comparisons; the ceiling.

    Parameters
    ----------
    record
        What :func:`gather` gives.

    Returns
    -------
    dict
        ``truth``: the seeds of which the ground truth is the mean; ``ceiling``; ``settings``:
        name of a setting to its values, each with the name of its supernets; ``halves``: name of
        a half, or ``all``, to what is found on its children.

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
    return {
        "truth": truth_seeds,
        "ceiling": _ceiling(record["plan"], children, len(truth_seeds)),
        "settings": _settings(record),
        "halves": {half: _of_half(children, truth, scores, part)
                   for half, part in _halves(numbers).items()},
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
    children: Sequence[Mapping[str, Any]], truth: np.ndarray, scores: Scores, part: np.ndarray
) -> dict[str, Any]:
    truth = truth[part]
    scores = {
        name: {seed: values[part] for seed, values in by_seed.items()}
        for name, by_seed in scores.items()
    }
    trivial = {
        **{
            f"most {key}": _rank(truth, -np.array([float(child[key]) for child in children])[part])
            for key in ("params", "flops")
        },
        "random": dataclasses.asdict(ranking.random_ranking(truth, top_k=_top_k(truth))),
    }
    return {
        "n": len(truth),
        "trivial": trivial,
        "supernets": {
            name: _supernets(name, by_seed, truth, trivial) for name, by_seed in scores.items()
        },
        "comparisons": _comparisons(scores, truth),
    }


def _supernets(
    name: str, by_seed: Mapping[str, np.ndarray], truth: np.ndarray, trivial: Mapping[str, Any]
) -> dict[str, Any]:
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
        "beyond": {},
    }
    if len(rankings) > 1:
        taus = np.array([one["kendall_tau"] for one in rankings.values()])
        found["kendall_tau"] = dataclasses.asdict(seeds.over_seeds(taus))
        found["joint_interval"] = seeds.joint_interval(truth, np.array(list(by_seed.values())))
        found["tau_between_seeds"] = _mean_tau(combinations(by_seed.values(), 2))
        found["tau_of_mean"] = _mean_tau([(truth, np.mean(list(by_seed.values()), axis=0))])
        found["beyond"] = {
            other: dataclasses.asdict(seeds.over_seeds(taus - trivial[other]["kendall_tau"]))
            for other in trivial
            if other != "random"
        }
    return found


def _comparisons(scores: Scores, truth: np.ndarray) -> list[dict[str, Any]]:
    """All supernets with the baseline, and further pairs, over the seeds that both have.

    Uncalibrated scores are compared with those of the same supernet calibrated.
    """
    pairs = [
        (name.removesuffix(UNCALIBRATED) if name.endswith(UNCALIBRATED) else METHODS[0], name)
        for name in scores
        if name != METHODS[0]
    ]
    found = []
    for before, after in (*pairs, *FURTHER_PAIRS):
        a, b = scores.get(before, {}), scores.get(after, {})
        if len(common := [seed for seed in b if seed in a]) > 1:
            one = seeds.compare(truth, [a[seed] for seed in common], [b[seed] for seed in common])
            found.append({
                "supernet": after, "against": before, **dataclasses.asdict(one),
                "tau_between_seeds": _mean_tau((a[i], b[k]) for i, k in permutations(common, 2)),
            })  # fmt: skip
    return found


def _mean_tau(pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> float:
    """Mean tau of scores with other scores of the same children."""
    return float(np.mean([scipy.stats.kendalltau(*pair).statistic for pair in pairs]))


def _ceiling(
    plan: Mapping[str, Any], children: Sequence[Mapping[str, Any]], runs: int
) -> dict[str, Any] | None:
    wanted = [str(seed) for seed in plan["children"]["seeds"]]
    repeated = [
        [child["val_loss"][seed] for seed in wanted]
        for child in children
        if len(wanted) > 1 and child["val_loss"].keys() >= set(wanted)
    ]
    if len(repeated) < FEWEST_CHILDREN:
        return None
    return dataclasses.asdict(seeds.noise_ceiling(repeated, runs=runs))


def _settings(record: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Values of every setting in ascending order, each with its supernets, where they are there."""
    found: dict[str, list[dict[str, Any]]] = {}
    for name, supernets in record["plan"]["supernets"].items():
        if name in record["supernets"]:
            for setting, value in supernets["values"].items():
                found.setdefault(setting, []).append({"value": value, "supernets": name})
    return {setting: sorted(one, key=lambda v: v["value"]) for setting, one in found.items()}


def _rank(truth: np.ndarray, scores: np.ndarray) -> dict[str, Any]:
    return dataclasses.asdict(ranking.rank(truth, scores, top_k=_top_k(truth)))


def _top_k(truth: np.ndarray) -> list[int]:
    return [k for k in TOP_K if k <= len(truth)]
