"""The child that evolution finds with a trained supernet."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

from experiments.studies.ranking.of_weights import OfWeights
from experiments.studies.study import Study
from experiments.studies.trainings import Search
from nni_magic.search import Evolution

__all__ = ["Searched"]


class Searched(OfWeights):
    """Searches the supernets of a plan with the weights that children inherit, a file for each.

    Parameters
    ----------
    study
        Has trained the supernets.
    """

    def __init__(self, study: Study) -> None:
        super().__init__(study, "searched")
        assert study.plan.search is not None
        self.search: Search = study.plan.search

    def made_with(self, name: str) -> dict[str, Any]:
        return {**self.study.made_supernet(name), "search": dataclasses.asdict(self.search)}

    def measure(self, name: str, seed: int) -> None:
        evaluate = self.study.child_evaluator(self.study.checkpoint(name, seed))
        started = time.process_time()
        evolution = Evolution(**dataclasses.asdict(self.search), seed=seed)
        ranked = evolution.search(self.study.domain.make_space(), evaluate)
        seconds = time.process_time() - started
        self.save(name, seed, {
            "found": ranked[0].sample, "n_scored": len(ranked), "search_cpu_seconds": seconds,
        })  # fmt: skip
