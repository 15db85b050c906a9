"""Which supernets rank better than others: those of a study compared pair by pair."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from itertools import permutations
from typing import Any

import numpy as np
import scipy.stats

from experiments.studies.gathered import UNCALIBRATED
from nni_magic.analysis import seeds

__all__ = ["METHODS", "Scores", "beyond", "chosen", "comparisons", "mean_tau", "of_children"]

METHODS = ("spos", "magic_t", "magic_a", "magic_at")
"""Strategies that are the study's subject, and the names of their supernets with default settings.

With the first all others are compared.
"""
FEWEST_SEEDS = 3
"""Of a setting that may be chosen."""
FURTHER_PAIRS = (("magic_t", "magic_at"), ("magic_a", "magic_at"))

Scores = Mapping[str, Mapping[str, np.ndarray]]  # supernet to seed to scores, (n,)


def of_children(scores: Scores, part: np.ndarray) -> Scores:
    """Scores of some children alone, those where ``part``, of booleans ``(n,)``, is true."""
    return {
        name: {seed: values[part] for seed, values in by_seed.items()}
        for name, by_seed in scores.items()
    }


def comparisons(plan: Mapping[str, Any], scores: Scores, truth: np.ndarray) -> list[dict[str, Any]]:
    """All supernets with baselines and with what they vary, over the seeds that both have.

    Uncalibrated scores are compared with those of the same supernet calibrated.
    """
    found = []
    for before, after in _pairs(plan["supernets"], scores):
        a, b = scores.get(before, {}), scores[after]
        if len(common := [seed for seed in b if seed in a]) > 1:
            one = seeds.compare(truth, [a[seed] for seed in common], [b[seed] for seed in common])
            found.append({
                "supernet": after, "against": before, **dataclasses.asdict(one),
                "tau_between_seeds": mean_tau((a[i], b[k]) for i, k in permutations(common, 2)),
            })  # fmt: skip
    return found


def _pairs(planned: Mapping[str, Any], names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Names of supernets to compare, each with those that it is a variant of.

    They are those of :data:`METHODS` of the same strategy, and one that gives a value of the same
    setting, of :data:`METHODS` or else the first in the plan. Where the steps or the learning rate
    vary, too, it is also compared with the baseline that has the same ones.

    >>> def supernets(strategy, steps=3000, **values):
    ...     return {"strategy": strategy, "steps": steps, "values": values}
    >>> planned = {"spos": supernets("spos"), "magic_t": supernets("magic_t", k=1),
    ...            "k2": supernets("other", k=2), "spos_6000": supernets("spos", 6000),
    ...            "k1_6000": supernets("magic_t", 6000)}
    >>> planned |= {"p10": supernets("p", p=10), "p20": supernets("p", p=20)}
    >>> for name in ("magic_t", "k2", "spos_6000", "k1_6000", "p10", "p20"):
    ...     print(list(_pairs(planned, [name])))
    [('spos', 'magic_t')]
    [('spos', 'k2'), ('magic_t', 'k2')]
    [('spos', 'spos_6000')]
    [('spos', 'k1_6000'), ('magic_t', 'k1_6000'), ('spos_6000', 'k1_6000')]
    [('spos', 'p10')]
    [('spos', 'p20'), ('p10', 'p20')]
    """
    for name in names:
        if name.endswith(UNCALIBRATED):
            yield name.removesuffix(UNCALIBRATED), name
            continue
        here, others = planned[name], []
        for method in METHODS:
            there = planned.get(method, {"strategy": None})
            related = method == METHODS[0] or here["strategy"] == there["strategy"]
            if related or (method, name) in FURTHER_PAIRS:
                others.append(method)
        others += [_first(planned, setting) for setting in here["values"]]
        others.append(_baseline(planned, here))
        yield from ((other, name) for other in dict.fromkeys(others) if other != name)


def _first(planned: Mapping[str, Any], setting: str) -> str:
    """Name of the supernets of a method that give a value of a setting, else of the first ones."""
    known = [name for name in METHODS if name in planned]
    return next(name for name in [*known, *planned] if setting in planned[name]["values"])


def _baseline(planned: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    """Name of the baseline trained as long and as fast, or of the first one if there is none."""
    alike = [
        name for name, there in planned.items()
        if there["strategy"] == METHODS[0] and _schedule(there) == _schedule(here)
    ]  # fmt: skip
    return METHODS[0] if METHODS[0] in alike or not alike else alike[0]


def _schedule(planned: Mapping[str, Any]) -> tuple[object, ...]:
    return tuple(planned.get(key) for key in ("steps", "learning_rate", "decay"))


def beyond(trivial: np.ndarray, scores: Scores, truth: np.ndarray) -> dict[str, Any]:
    """Supernets of several seeds compared with a trivial ranking."""
    return {
        name: dataclasses.asdict(
            seeds.compare(truth, [trivial] * len(by_seed), list(by_seed.values()))
        )
        for name, by_seed in scores.items()
        if len(by_seed) > 1
    }


def chosen(
    plan: Mapping[str, Any],
    scores: Scores,
    truth: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
) -> dict[str, Any] | None:
    """Compare the best setting of the other methods with the baseline's best, both chosen before.

    The best of many is too good by chance on the children that it was chosen on, so the two are
    compared on others. What luck a seed has is the same on both, and stays in.

    Parameters
    ----------
    plan
        Of the study.
    scores, truth
        Scores by supernet and seed, and the ground truth, ``(n,)``.
    first, second
        Booleans ``(n,)``: the children to choose on, and those to compare on.

    Returns
    -------
    dict or None
        ``among``: how many settings the other methods and the baseline have with all their seeds,
        at least :data:`FEWEST_SEEDS`; ``supernet``, ``against``: the best of each by mean tau over
        the seeds that all have; ``taus``: these two means; the comparison. ``None`` if a side has
        no setting.
    """
    planned = plan["supernets"]
    whole = {
        name: by_seed for name, by_seed in scores.items()
        if name in planned and len(planned[name]["seeds"]) == len(by_seed) >= FEWEST_SEEDS
    }  # fmt: skip
    common = [
        seed
        for seed in next(iter(whole.values()), ())
        if all(seed in by_seed for by_seed in whole.values())
    ]
    taus = {
        name: mean_tau((truth[first], by_seed[seed][first]) for seed in common)
        for name, by_seed in whole.items()
        if len(common) >= FEWEST_SEEDS
    }
    ours = {name for name in taus if planned[name]["strategy"] != METHODS[0]}
    theirs = taus.keys() - ours
    if not ours or not theirs:
        return None
    # Sorted, so that of equal ones the same is taken every time.
    after, before = (max(sorted(side), key=lambda name: taus[name]) for side in (ours, theirs))
    b, a = ([whole[name][seed][second] for seed in common] for name in (after, before))
    return {
        "among": [len(ours), len(theirs)],
        "supernet": after,
        "against": before,
        "taus": [taus[after], taus[before]],
        **dataclasses.asdict(seeds.compare(truth[second], a, b)),
    }


def mean_tau(pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> float:
    """Mean tau of scores with other scores of the same children."""
    return float(np.mean([scipy.stats.kendalltau(*pair).statistic for pair in pairs]))
