"""The children that searches have found, trained from scratch as the ground truth was."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from nni.mutable import Sample

from experiments.studies.measurements import Found, Measurements
from experiments.studies.study import Missing, Study
from nni_magic.children.samples import digest
from nni_magic.support.made_with import read_result

__all__ = ["FoundChildren"]


class FoundChildren:
    """Trains what searches have found, with every seed that all children of the plan have.

    A child is trained once, whatever has found it; one of the plan has its ground truth already.

    Parameters
    ----------
    study
        Trains the children, into its folder ``found``.
    searches
        Their files hold a child as ``found``.
    """

    def __init__(self, study: Study, searches: Sequence[Measurements]) -> None:
        self.study = study
        self.searches = searches

    def missing(self) -> Missing:
        """Files of trainings that are not there, each with the function that makes its content.

        Raises
        ------
        ValueError
            If a result is of another plan.
        """
        if not self.study.domain.trains_children:
            return
        for sample in self._samples():
            for seed in self.study.plan.children.common_seeds:
                if sample not in self.study.children and self._read(sample, seed) is None:
                    yield self._file(sample, seed), partial(self.study.train_sample, sample, seed)

    def work(self) -> None:
        """Train what is missing and claimed by no other process."""
        self.study.work(self.missing)

    def found(self) -> Found:
        """What the searches have measured, each with the :meth:`truth` of its child."""
        return {
            name: {seed: {**one, "truth": self.truth(one["found"])} for seed, one in seeds.items()}
            for search in self.searches
            for name, seeds in search.found().items()
        }

    def truth(self, sample: Sample) -> float | None:
        """Mean ground truth over the seeds, ``None`` if it is not trained with all of them."""
        trained = [self._read(sample, seed) for seed in self.study.plan.children.common_seeds]
        key = self.study.domain.ground_truth.key
        values = [one[key] for one in trained if one is not None]
        return float(np.mean(values)) if len(values) == len(trained) else None

    def _samples(self) -> Iterator[Sample]:
        """Each child that was found, once."""
        every = [
            record["found"]
            for search in self.searches
            for by_seed in search.found().values()
            for record in by_seed.values()
        ]
        yield from {digest(sample): sample for sample in every}.values()

    def _read(self, sample: Sample, seed: int) -> dict[str, Any] | None:
        if sample in self.study.children:
            return self.study.read_child(self.study.children.index(sample), seed)
        if not self.study.domain.trains_children:
            published: dict[str, Any] = self.study.domain.published(sample, seed)
            return published
        return read_result(self._file(sample, seed), self.study.made_child(sample), val_loss=float)

    def _file(self, sample: Sample, seed: int) -> Path:
        return self.study.output / "found" / f"{digest(sample)}_seed{seed}.json"
