"""Which supernets rank better than others: those of a study compared pair by pair."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import permutations

import numpy as np
import scipy.stats

from experiments.studies.gathered import UNCALIBRATED
from experiments.studies.trainings import Supernets
from nni_magic.analysis import seeds
from nni_magic.analysis.seeds import Comparison

__all__ = [
    "METHODS", "Chosen", "Pair", "Scores", "beyond", "chosen", "comparisons", "mean_tau",
    "of_children",
]  # fmt: skip

METHODS = ("spos", "magic_t", "magic_a", "magic_at")
"""Strategies that are the study's subject, and the names of their supernets with default settings.

With the first all others are compared.
"""
FEWEST_SEEDS = 3
"""Of a setting that may be chosen."""
FURTHER_PAIRS = (("magic_t", "magic_at"), ("magic_a", "magic_at"))

Scores = Mapping[str, Mapping[str, np.ndarray]]  # supernet to seed to scores, (n,)


@dataclass(frozen=True, kw_only=True)
class Pair(Comparison):
    """Two supernets compared, over the seeds that both have.

    Attributes
    ----------
    supernet, against : str
        Their names; the difference is the first one's tau less the second one's.
    tau_between_seeds : float
        Mean tau of scores of the one with those of the other of another seed.
    """

    supernet: str
    against: str
    tau_between_seeds: float


@dataclass(frozen=True, kw_only=True)
class Chosen(Comparison):
    """What is best on some children, compared on others.

    Attributes
    ----------
    among : tuple of int
        Settings to choose from, of the other methods and of the baseline: those with all their
        seeds, at least :data:`FEWEST_SEEDS`.
    supernet, against : str
        The best of each, by mean tau over the seeds that all have.
    taus : tuple of float
        These two means.
    """

    among: tuple[int, int]
    supernet: str
    against: str
    taus: tuple[float, float]


def of_children(scores: Scores, part: np.ndarray) -> Scores:
    """Scores of some children alone, those where ``part``, of booleans ``(n,)``, is true."""
    return {
        name: {seed: values[part] for seed, values in by_seed.items()}
        for name, by_seed in scores.items()
    }


def comparisons(planned: Mapping[str, Supernets], scores: Scores, truth: np.ndarray) -> list[Pair]:
    """All supernets with baselines and with what they vary, over the seeds that both have.

    Uncalibrated scores are compared with those of the same supernet calibrated.
    """
    found = []
    for before, after in _pairs(planned, scores):
        a, b = scores.get(before, {}), scores[after]
        if len(common := [seed for seed in b if seed in a]) > 1:
            one = seeds.compare(truth, [a[seed] for seed in common], [b[seed] for seed in common])
            between = mean_tau((a[i], b[k]) for i, k in permutations(common, 2))
            found.append(
                Pair(**vars(one), supernet=after, against=before, tau_between_seeds=between)
            )
    return found


def _pairs(planned: Mapping[str, Supernets], names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Names of supernets to compare, each with those that it is a variant of.

    They are those of :data:`METHODS` of the same strategy, and one that gives a value of the same
    setting, of :data:`METHODS` or else the first in the plan. Where the steps or the learning rate
    vary, too, it is also compared with the baseline that has the same ones.

    >>> def supernets(strategy, steps=3000, **values):
    ...     return Supernets(strategy, steps, (0,), values=values)
    >>> planned = {"spos": supernets("spos"), "magic_t": supernets("magic_t", k=1),
    ...            "k2": supernets("magic_a", k=2), "spos_6000": supernets("spos", 6000),
    ...            "k1_6000": supernets("magic_t", 6000)}
    >>> planned |= {"p10": supernets("percentile_anchor", p=10),
    ...             "p20": supernets("percentile_anchor", p=20)}
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
            there = planned.get(method)
            related = method == METHODS[0] or (there and here.strategy == there.strategy)
            if related or (method, name) in FURTHER_PAIRS:
                others.append(method)
        others += [_first(planned, setting) for setting in here.values]
        others.append(_baseline(planned, here))
        yield from ((other, name) for other in dict.fromkeys(others) if other != name)


def _first(planned: Mapping[str, Supernets], setting: str) -> str:
    """Name of the supernets of a method that give a value of a setting, else of the first ones."""
    known = [name for name in METHODS if name in planned]
    return next(name for name in [*known, *planned] if setting in planned[name].values)


def _baseline(planned: Mapping[str, Supernets], here: Supernets) -> str:
    """Name of the baseline trained as long and as fast, or of the first one if there is none."""
    alike = [
        name for name, there in planned.items()
        if there.strategy == METHODS[0] and _schedule(there) == _schedule(here)
    ]  # fmt: skip
    return METHODS[0] if METHODS[0] in alike or not alike else alike[0]


def _schedule(planned: Supernets) -> tuple[object, ...]:
    return planned.steps, planned.learning_rate, planned.decay


def beyond(trivial: np.ndarray, scores: Scores, truth: np.ndarray) -> dict[str, Comparison]:
    """Supernets of several seeds compared with a trivial ranking."""
    return {
        name: seeds.compare(truth, [trivial] * len(by_seed), list(by_seed.values()))
        for name, by_seed in scores.items()
        if len(by_seed) > 1
    }


def chosen(
    planned: Mapping[str, Supernets],
    scores: Scores,
    truth: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
) -> Chosen | None:
    """Compare the best setting of the other methods with the baseline's best, both chosen before.

    The best of many is too good by chance on the children that it was chosen on, so the two are
    compared on others. A lucky seed, though, is lucky on both.

    Parameters
    ----------
    planned
        The supernets of the plan.
    scores, truth
        Scores by supernet and seed, and the ground truth, ``(n,)``.
    first, second
        Booleans ``(n,)``: the children to choose on, and those to compare on.

    Returns
    -------
    Chosen or None
        ``None`` if a side has no setting with enough seeds.
    """
    whole, common = _with_all_seeds(planned, scores)
    taus = {
        name: mean_tau((truth[first], by_seed[seed][first]) for seed in common)
        for name, by_seed in whole.items()
    }
    ours = {name for name in taus if planned[name].strategy != METHODS[0]}
    theirs = taus.keys() - ours
    if not ours or not theirs:
        return None
    # Sorted, so that of equal ones the same is taken every time.
    after, before = (max(sorted(side), key=lambda name: taus[name]) for side in (ours, theirs))
    b, a = ([whole[name][seed][second] for seed in common] for name in (after, before))
    return Chosen(
        **vars(seeds.compare(truth[second], a, b)),
        among=(len(ours), len(theirs)),
        supernet=after,
        against=before,
        taus=(taus[after], taus[before]),
    )


def _with_all_seeds(planned: Mapping[str, Supernets], scores: Scores) -> tuple[Scores, list[str]]:
    """Scores of the supernets of which no seed is missing, and the seeds that all of them have."""
    whole = {
        name: by_seed for name, by_seed in scores.items()
        if name in planned and len(planned[name].seeds) == len(by_seed) >= FEWEST_SEEDS
    }  # fmt: skip
    common = [
        seed
        for seed in next(iter(whole.values()), ())
        if all(seed in by_seed for by_seed in whole.values())
    ]
    return (whole, common) if len(common) >= FEWEST_SEEDS else ({}, [])


def mean_tau(pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> float:
    """Mean tau of scores with other scores of the same children."""
    return float(np.mean([scipy.stats.kendalltau(*pair).statistic for pair in pairs]))
