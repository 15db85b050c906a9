"""How far the gradients of children agree on the operators that they share."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from nni.mutable import Sample

from experiments.studies.ranking.of_weights import OfWeights
from experiments.studies.study import NEVER, Study
from experiments.studies.trainings import Comparison
from nni_magic.analysis.gradients import SharedGradients
from nni_magic.samplers import UniformSampler
from nni_magic.supernet.checkpoint import load_supernet
from nni_magic.supernet.parted import PartedSupernet

__all__ = ["Cosines"]

TRIES = 1000
"""Pairs that are drawn until they share a part and a candidate that can be trained."""


class Cosines(OfWeights):
    """Measures the supernets of a plan, with a file for each.

    Of random pairs of children that share a candidate the cosine of the candidate's gradients is
    measured, on the same rows. Where a supernet has parts, the two children are of one part.

    Parameters
    ----------
    study
        Has trained the supernets.
    """

    def __init__(self, study: Study) -> None:
        super().__init__(study, "cosines")
        assert study.plan.comparison is not None
        self.comparison: Comparison = study.plan.comparison

    def made_with(self, name: str) -> dict[str, Any]:
        comparison = dataclasses.asdict(self.comparison)
        return {**self.study.made_supernet(name), "comparison": comparison}

    def measure(self, name: str, seed: int) -> None:
        self.save(name, seed, {"cosines": self.cosines(name, seed)})

    def cosines(self, name: str, seed: int) -> list[float]:
        """Cosine of the gradients of every pair."""
        space = self.study.domain.make_space()
        supernet = load_supernet(self.study.checkpoint(name, seed), space)
        parts = supernet.parts if isinstance(supernet, PartedSupernet) else [supernet]
        evaluator = self.study.evaluator(NEVER, seed, {})
        rows, drawn = self.comparison.rows, self.study.plan.children.seed
        batches = self.study.first_batches(evaluator, rows, rows, drawn)
        gradients = [SharedGradients(part, evaluator, batches) for part in parts]
        draw = UniformSampler(self.study.domain.make_space(), seed=drawn)
        rng, found = np.random.default_rng(drawn), []
        for _ in range(self.comparison.pairs):
            label, pair = _pair(supernet, draw, self.study.domain.skips, rng)
            similarity = gradients[_part(supernet, pair[0])].similarity(label, pair)
            found.append(float(similarity[0, 1]))
        return found


def _part(supernet: Any, child: Sample) -> int:
    return supernet.part_of(child) if isinstance(supernet, PartedSupernet) else 0


def _pair(
    supernet: Any, draw: UniformSampler, skips: Sequence[str], rng: np.random.Generator
) -> tuple[str, list[Sample]]:
    """Draw two children of one part that differ, and a label in which they share a candidate.

    Raises
    ------
    ValueError
        If there are none.
    """
    for _ in range(TRIES):
        pair = [draw.next(), draw.next()]
        first, second = pair
        shared = [label for label, one in first.items() if second.get(label) == one not in skips]
        alike = _part(supernet, first) == _part(supernet, second)
        if first != second and shared and alike:
            return shared[rng.integers(len(shared))], pair
    raise ValueError(f"no two of {TRIES} pairs of children share a candidate that can be trained")
