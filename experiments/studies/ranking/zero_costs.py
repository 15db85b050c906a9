"""Scores of children before their training, of those with a published ground truth, too."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from nni.mutable import Sample
from nni.nas.space import model_context

from experiments.studies.study import NEVER, Missing, Study
from nni_magic.analysis.zero_cost import ZeroCost
from nni_magic.support.files import write_json

__all__ = ["ZeroCosts"]

WRITTEN_EVERY = 50
"""Children after which scores are written, so that a kill loses no more."""


class ZeroCosts:
    """Scores all children of a plan, with every seed that all of them are trained with.

    A seed gives the weights that a training begins with, and its first batch.

    Parameters
    ----------
    study
        Has the children; the scores of a seed lie in a file of its folder ``zero_cost``.
    """

    def __init__(self, study: Study) -> None:
        self.study = study

    def missing(self) -> Missing:
        """Files of seeds with which not all children are scored.

        Raises
        ------
        ValueError
            If a result is of another plan.
        """
        for seed in self.study.plan.children.common_seeds:
            found = self.study.read_zero_cost(seed)
            known = found["scores"] if found else []
            if len(known) < len(self.study.children):
                yield self.study.zero_cost_file(seed), partial(self._scored, seed, known)

    def work(self) -> None:
        """Score those that are missing, with the seeds that no other process has claimed."""
        self.study.work(self.missing)

    def _scored(self, seed: int, known: Sequence[dict[str, float]]) -> dict[str, Any]:
        """Score those that are not scored yet; now and then write what there is."""
        scores = list(known)
        record = {"made_with": self.study.made_zero_cost(), "seed": seed, "scores": scores}
        for sample in self.study.children[len(scores) :]:
            scores.append(self._score(sample, seed))
            if len(scores) % WRITTEN_EVERY == 0:
                write_json(self.study.zero_cost_file(seed), record)
        return record

    def _score(self, sample: Sample, seed: int) -> dict[str, float]:
        """Score a child, as its training begins."""
        with model_context(sample):
            child = self.study.domain.seeded_space(seed)
        scorer = ZeroCost()
        settings = {"limit_val_batches": 0, "max_steps": 1, "callbacks": [scorer]}
        self.study.evaluator(NEVER, seed, settings).evaluate(child)
        return scorer.scores
