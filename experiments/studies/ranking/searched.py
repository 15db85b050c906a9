"""The child that evolution finds with a trained supernet."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from typing import Any

from experiments.studies.measurements import Measurements
from experiments.studies.study import Study
from experiments.studies.trainings import Search
from nni_magic.search import Evolution

__all__ = ["Searched"]


class Searched(Measurements):
    """Searches the supernets of a plan with the weights that children inherit, a file for each.

    Parameters
    ----------
    study
        Has trained the supernets.
    """

    def __init__(self, study: Study) -> None:
        planned = study.plan.supernets
        super().__init__(
            study, study.output / "searched", {name: one.seeds for name, one in planned.items()}
        )
        assert study.plan.search is not None
        self.search: Search = study.plan.search

    def made_with(self, name: str) -> dict[str, Any]:
        return {**self.study.made_supernet(name), "search": dataclasses.asdict(self.search)}

    def supernets(self) -> Iterator[tuple[str, int]]:
        yield from self.study.plan.trainings()

    def measure(self, name: str, seed: int) -> None:
        if self.study.read_supernet(name, seed) is None:
            return  # another process still trains it, and then searches it, too
        evaluate = self.study.child_evaluator(self.study.checkpoint(name, seed))
        started = time.process_time()
        evolution = Evolution(**dataclasses.asdict(self.search), seed=seed)
        ranked = evolution.search(self.study.domain.make_space(), evaluate)
        seconds = time.process_time() - started
        self.save(name, seed, {
            "found": ranked[0].sample, "n_scored": len(ranked), "search_cpu_seconds": seconds,
        })  # fmt: skip
