"""The numbers of a study of rank correlation: rankings, comparisons, and the ceiling of noise."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from experiments.studies.gathered import Child, Gathered
from experiments.studies.ranking.comparisons import (
    METHODS,
    Chosen,
    Pair,
    Scores,
    beyond,
    chosen,
    comparisons,
    mean_tau,
    of_children,
)
from experiments.studies.ranking.preferences import (
    AnchorTaus,
    Changes,
    by_anchor,
    by_candidate,
    changes,
)
from experiments.studies.ranking.trivial import trivial_scores
from experiments.studies.trainings import Children
from nni_magic.analysis import ranking, seeds
from nni_magic.analysis.ranking import TOP_K, Ranking
from nni_magic.analysis.resampling import FEWEST_CHILDREN
from nni_magic.analysis.seeds import Comparison, MeanInterval, NoiseCeiling
from nni_magic.support.errors import naming

__all__ = ["Half", "RankedSupernets", "Setting", "SettingValue", "Statistics", "statistics"]


@dataclass(frozen=True)
class SettingValue:
    """A value of a setting, and the name of the supernets that have it."""

    value: float
    supernets: str


@dataclass(frozen=True)
class Setting:
    """A setting that supernets vary: its values, ascending, and the seeds that all of them have."""

    seeds: list[str]
    values: list[SettingValue]


@dataclass(frozen=True)
class RankedSupernets:
    """How well supernets of one name rank children.

    Parameters
    ----------
    seeds, mean_loss
        Ranking and mean score by seed.
    kendall_tau
        Mean over seeds. This, and all that follows, is ``None`` for a single seed.
    joint_interval
        Interval of this mean, for other seeds and other children.
    tau_between_seeds
        Mean tau of the scores of two seeds.
    tau_of_mean
        Tau of the scores' means over seeds.
    """

    seeds: dict[str, Ranking]
    mean_loss: dict[str, float]
    kendall_tau: MeanInterval | None = None
    joint_interval: tuple[float, float] | None = None
    tau_between_seeds: float | None = None
    tau_of_mean: float | None = None


@dataclass(frozen=True)
class Half:
    """What is found on some children, one half of them or all.

    Parameters
    ----------
    n
        How many they are.
    trivial
        Rankings by size, and what is expected of a random one.
    supernets
        Rankings by supernets, by their names.
    comparisons
        Supernets compared pair by pair.
    best_trivial, beyond
        Name of the best trivial ranking, and supernets compared with it.
    candidates
        Candidate to the name of a ranking to tau, see :mod:`.preferences`.
    changes, anchors
        What the methods like, see :mod:`.preferences`.
    """

    n: int
    trivial: dict[str, Ranking]
    supernets: dict[str, RankedSupernets]
    comparisons: list[Pair]
    best_trivial: str
    beyond: dict[str, Comparison]
    candidates: dict[str, dict[str, float]]
    changes: Changes
    anchors: dict[str, AnchorTaus]


@dataclass(frozen=True)
class Statistics:
    """The numbers of a study.

    Parameters
    ----------
    truth_seeds
        Those of which the ground truth is the mean.
    ceiling
        Noise of the ground truth; ``None`` if too few children are trained repeatedly.
    settings
        By the names of the settings.
    halves
        By the name of the half, or ``all``; among them the better half by the ground truth.
    chosen
        What wins on the first half, compared on the second.
    """

    truth_seeds: list[str]
    ceiling: NoiseCeiling | None
    settings: dict[str, Setting]
    halves: dict[str, Half]
    chosen: Chosen | None

    def to_json(self) -> dict[str, Any]:
        """What a report records of it."""
        found = dataclasses.asdict(self)
        for half in found["halves"].values():
            half["best trivial"] = half.pop("best_trivial")
        return found


def statistics(record: Gathered) -> Statistics:
    """Rank correlation of every supernet and of the trivial rankings; comparisons; the ceiling.

    Raises
    ------
    ValueError
        If there are too few children to rank, or scores are not finite or all the same.
    """
    ranked = record.ranked()
    scores = {
        name: {seed: np.array(found["scores"])[ranked.numbers] for seed, found in by_seed.items()}
        for name, by_seed in record.supernets.items()
    }
    halves = _halves(ranked.numbers, ranked.truth)
    parts = [halves[half] for half in ("first half", "second half") if half in halves]
    return Statistics(
        truth_seeds=ranked.seeds,
        ceiling=_ceiling(record.plan.children, ranked.children, len(ranked.seeds)),
        settings=_settings(record),
        halves={
            half: _of_half(record, ranked.children, ranked.truth, scores, part)
            for half, part in halves.items()
        },
        chosen=chosen(record.plan.supernets, scores, ranked.truth, *parts)
        if len(parts) == 2
        else None,
    )


def _halves(numbers: np.ndarray, truth: np.ndarray) -> dict[str, np.ndarray]:
    """Which children are ranked: settings may be chosen on one half and reported on the other.

    A child is in the half of its number, whichever others are finished. The best half is told by
    the ground truth. A half of which too few are finished is left out.

    >>> halves = _halves(np.array([0, 1, 2, 4, 6]), np.array([0.4, 0.1, 0.2, 0.3, 0.5]))
    >>> halves["first half"].tolist()
    [True, False, True, True, True]
    >>> halves["best half"].tolist()
    [False, True, True, True, False]
    """
    parts = {
        "all": np.full(len(numbers), True),
        "first half": numbers % 2 == 0,
        "second half": numbers % 2 == 1,
        "best half": truth <= np.median(truth),
    }
    return {
        half: part
        for half, part in parts.items()
        if half == "all" or part.sum() >= FEWEST_CHILDREN
    }  # fmt: skip


def _of_half(
    record: Gathered, children: Sequence[Child], truth: np.ndarray, scores: Scores,
    part: np.ndarray,
) -> Half:  # fmt: skip
    truth = truth[part]
    children = [child for child, here in zip(children, part, strict=True) if here]
    scores = of_children(scores, part)
    by_size = trivial_scores(children, record.plan.kind.skips)
    trivial = {name: _rank(truth, values) for name, values in by_size.items()}
    best = max(trivial, key=lambda name: trivial[name].kendall_tau)
    return Half(
        n=len(truth),
        trivial={**trivial, "random": ranking.random_ranking(truth, top_k=_top_k(truth))},
        supernets={name: _supernets(name, by_seed, truth) for name, by_seed in scores.items()},
        comparisons=comparisons(record.plan.supernets, scores, truth),
        best_trivial=best,
        beyond=beyond(by_size[best], scores, truth),
        candidates=by_candidate(children, truth, scores),
        changes=changes(children, scores, METHODS[0]),
        anchors=by_anchor(record, children, truth, scores, METHODS[0]),
    )


def _supernets(name: str, by_seed: Mapping[str, np.ndarray], truth: np.ndarray) -> RankedSupernets:
    """Rankings of every seed; with several, also means with intervals."""
    rankings = {}
    for seed, scores in by_seed.items():
        with naming(f"supernet {name!r}, seed {seed}"):
            rankings[seed] = _rank(truth, scores)
    mean_loss = {seed: float(scores.mean()) for seed, scores in by_seed.items()}
    if len(rankings) == 1:
        return RankedSupernets(rankings, mean_loss)
    every = np.array(list(by_seed.values()))
    return RankedSupernets(
        rankings,
        mean_loss,
        kendall_tau=seeds.over_seeds([one.kendall_tau for one in rankings.values()]),
        joint_interval=seeds.joint_interval(truth, every),
        tau_between_seeds=mean_tau(combinations(every, 2)),
        tau_of_mean=mean_tau([(truth, every.mean(axis=0))]),
    )


def _ceiling(planned: Children, children: Sequence[Child], runs: int) -> NoiseCeiling | None:
    wanted = [str(seed) for seed in planned.seeds]
    repeated = [
        [child.truth[seed] for seed in wanted]
        for child in children
        if len(wanted) > 1 and child.truth.keys() >= set(wanted)
    ]
    if len(repeated) < FEWEST_CHILDREN:
        return None
    return seeds.noise_ceiling(repeated, runs=runs)


def _settings(record: Gathered) -> dict[str, Setting]:
    """Settings of the supernets that there are."""
    found: dict[str, list[SettingValue]] = {}
    for name, supernets in record.plan.supernets.items():
        if name in record.supernets:
            for setting, value in supernets.values.items():
                found.setdefault(setting, []).append(SettingValue(value, name))
    return {
        setting: Setting(
            seeds=_common([record.supernets[one.supernets] for one in values]),
            values=sorted(values, key=lambda one: one.value),
        )
        for setting, values in found.items()
    }


def _common(by_seed: Sequence[Mapping[str, Any]]) -> list[str]:
    """Seeds that all have."""
    first, *others = by_seed
    return [seed for seed in first if all(seed in other for other in others)]


def _rank(truth: np.ndarray, scores: np.ndarray) -> Ranking:
    return ranking.rank(truth, scores, top_k=_top_k(truth))


def _top_k(truth: np.ndarray) -> list[int]:
    return [k for k in TOP_K if k <= len(truth)]
