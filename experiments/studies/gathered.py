"""The results of a study of rank correlation, gathered from its files."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from nni.mutable import Sample

from experiments.studies.plan import Plan
from experiments.studies.results import Results

__all__ = ["UNCALIBRATED", "Child", "Gathered", "Ranked", "Truth", "devices", "gather"]

UNCALIBRATED = ", uncalibrated"
"""End of the name under which a supernet's scores without calibration stand."""


@dataclass(frozen=True)
class Truth:
    """What the ground truth is, and its unit."""

    name: str
    unit: str


@dataclass(frozen=True)
class Child:
    """A child whose ground truth is known.

    Parameters
    ----------
    number
        Its place among the children of the plan.
    sample
        Its candidates.
    params, flops
        Its size.
    truth, val_accuracy, cpu_seconds
        Of its trainings, by seed. Accuracy and time are ``None`` where nobody published them.
    zero_cost
        Scores before the training, by name and seed; empty where not all seeds have them.
    """

    number: int
    sample: Sample
    params: int
    flops: int
    truth: dict[str, float] = dataclasses.field(default_factory=dict)
    val_accuracy: dict[str, float | None] = dataclasses.field(default_factory=dict)
    cpu_seconds: dict[str, float | None] = dataclasses.field(default_factory=dict)
    zero_cost: dict[str, dict[str, float]] = dataclasses.field(default_factory=dict)


class Ranked(NamedTuple):
    """The children that can be ranked.

    Parameters
    ----------
    children
        Those with a ground truth of the first seed.
    truth
        Their ground truth, a mean over seeds, ``(n,)``.
    seeds
        These seeds: those with which all of the children are trained.
    """

    children: list[Child]
    truth: np.ndarray
    seeds: list[str]

    @property
    def numbers(self) -> np.ndarray:
        """Numbers of the children, at which their scores stand in a supernet's file, ``(n,)``."""
        return np.array([child.number for child in self.children], dtype=int)


@dataclass(frozen=True)
class Gathered:
    """The results that there are.

    Parameters
    ----------
    plan
        Of the study.
    ground_truth
        What tells how good a child is.
    trained_on
        GPUs by their names, and ``cpu``.
    children
        Those whose ground truth is known.
    supernets
        Name to seed to what is in the supernet's file. Scores with the BatchNorm statistics of the
        training, which are not taken anew for every child, come under a name that ends in
        :data:`UNCALIBRATED`. Supernets that have not scored all children yet are left out.
    """

    plan: Plan
    ground_truth: Truth
    trained_on: list[str]
    children: list[Child]
    supernets: dict[str, dict[str, dict[str, Any]]]

    def ranked(self) -> Ranked:
        """Find the children that are trained, and their ground truth."""
        first, *others = map(str, self.plan.children.seeds)
        children = [child for child in self.children if first in child.truth]
        seeds = [
            seed for seed in (first, *others) if all(seed in child.truth for child in children)
        ]
        losses = [[child.truth[seed] for seed in seeds] for child in children]
        truth = np.mean(losses, axis=1) if losses else np.array([])
        return Ranked(children, truth, seeds)

    def to_json(self) -> dict[str, Any]:
        """What a report records of it."""
        return dataclasses.asdict(self)


def gather(results: Results) -> Gathered:
    """Collect the results that there are.

    Raises
    ------
    ValueError
        If a result is of another plan.
    """
    trainings = results.plan.children.trainings()
    known = {one: found for one in trainings if (found := results.read_child(*one))}
    supernets = _supernets(results)
    trained = [one for by_seed in supernets.values() for one in by_seed.values()]
    if results.domain.trains_children:
        trained += known.values()
    truth = results.domain.ground_truth
    return Gathered(
        plan=results.plan,
        ground_truth=Truth(truth.name, truth.unit),
        trained_on=devices(trained),
        children=_children(results, known),
        supernets=supernets,
    )


def devices(results: Iterable[Mapping[str, Any]]) -> list[str]:
    """Names of the devices on which results were trained.

    >>> devices([{"device": "NVIDIA H200"}, {"device": "cpu"}, {}])
    ['NVIDIA H200', 'cpu']
    """
    return sorted({one.get("device", "cpu") for one in results})


def _supernets(results: Results) -> dict[str, dict[str, dict[str, Any]]]:
    """Name to seed to file, of the supernets that have scored all children."""
    supernets: dict[str, dict[str, dict[str, Any]]] = {}
    for name, planned in results.plan.supernets.items():
        by_seed = {
            str(seed): found
            for seed in planned.seeds
            if (found := results.read_supernet(name, seed)) is not None
            and len(found["scores"]) >= len(results.children)
        }
        uncalibrated = {
            seed: {**found, "scores": found["uncalibrated"]}
            for seed, found in by_seed.items()
            if "uncalibrated" in found
        }
        supernets |= {name: by_seed, f"{name}{UNCALIBRATED}": uncalibrated}
    return {name: by_seed for name, by_seed in supernets.items() if by_seed}


def _children(results: Results, known: Mapping[tuple[int, int], Mapping[str, Any]]) -> list[Child]:
    """Children whose ground truth is known by number and seed."""
    children: dict[int, Child] = {}
    zero_cost = _zero_cost(results)
    for (number, seed), found in known.items():
        sample = results.children[number]
        child = children.setdefault(number, Child(number, sample, found["params"], found["flops"]))
        child.truth[str(seed)] = found[results.domain.ground_truth.key]
        child.val_accuracy[str(seed)] = found.get("val_accuracy")
        child.cpu_seconds[str(seed)] = found.get("cpu_seconds")
    for number, child in children.items():
        child.zero_cost.update(zero_cost[number])
    return [children[number] for number in sorted(children)]


def _zero_cost(results: Results) -> list[dict[str, dict[str, float]]]:
    """Scores of every child before its training, by name and seed; none until all seeds have them.

    A score that is lacking with one of the seeds is left out.
    """
    seeds, n = results.plan.children.common_seeds, len(results.children)
    files = [results.read_zero_cost(seed) for seed in seeds]
    by_seed = [[] if one is None else one["scores"][:n] for one in files]
    if min(map(len, by_seed)) < n:
        return [{} for _ in results.children]
    return [
        {
            name: {str(seed): one[name] for seed, one in zip(seeds, of_seeds, strict=True)}
            for name in of_seeds[0]
            if all(name in one for one in of_seeds)
        }
        for of_seeds in zip(*by_seed, strict=True)
    ]
