"""The results of a study of rank correlation, gathered from its files."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from experiments.studies.study import Study

__all__ = ["UNCALIBRATED", "devices", "gather", "ranked_children"]

UNCALIBRATED = ", uncalibrated"
"""End of the name under which a supernet's scores without calibration stand."""


def gather(study: Study) -> dict[str, Any]:
    """Collect the results that there are.

    Returns
    -------
    dict
        ``ground_truth``: what it is, and its unit; ``trained_on``: GPUs by their names, and
        ``cpu``; ``children``: for each whose ground truth is known its sample, size and ground
        truth by seed;
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
    truth = study.domain.ground_truth
    known = {
        one: found for one in study.plan.children.trainings() if (found := study.read_child(*one))
    }
    trained = [one for by_seed in supernets.values() for one in by_seed.values()]
    if study.domain.trains_children:
        trained += known.values()
    return {
        "plan": dataclasses.asdict(study.plan),
        "ground_truth": {"name": truth.name, "unit": truth.unit},
        "trained_on": devices(trained),
        "children": _children(study, known),
        "supernets": {name: by_seed for name, by_seed in supernets.items() if by_seed},
    }


def devices(results: Iterable[Mapping[str, Any]]) -> list[str]:
    """Names of the devices on which results were trained.

    >>> devices([{"device": "NVIDIA H200"}, {"device": "cpu"}, {}])
    ['NVIDIA H200', 'cpu']
    """
    return sorted({one.get("device", "cpu") for one in results})


def _children(
    study: Study, known: Mapping[tuple[int, int], Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Children whose ground truth is known by number and seed."""
    children: dict[int, dict[str, Any]] = {}
    for (number, seed), found in known.items():
        child = children.setdefault(
            number,
            {"number": number, "sample": study.children[number], "params": found["params"],
             "flops": found["flops"], "truth": {}, "val_accuracy": {}, "cpu_seconds": {}},
        )  # fmt: skip
        child["truth"][str(seed)] = found[study.domain.ground_truth.key]
        for key in ("val_accuracy", "cpu_seconds"):
            child[key][str(seed)] = found.get(key)
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
        Mean over the seeds with which all of these are trained, ``(n,)``.
    seeds
        These seeds.
    """
    first, *others = map(str, record["plan"]["children"]["seeds"])
    children = [child for child in record["children"] if first in child["truth"]]
    common = [
        seed for seed in (first, *others) if all(seed in child["truth"] for child in children)
    ]
    losses = [[child["truth"][seed] for seed in common] for child in children]
    return children, np.mean(losses, axis=1) if losses else np.array([]), common
