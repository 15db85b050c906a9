"""Measure the interference in the trained supernets of a plan, with a file for each."""

from __future__ import annotations

import argparse
import logging
from functools import partial
from typing import Any

import numpy as np
from nni.nas.evaluator.pytorch import Lightning

from experiments.studies.command_line import check_supernets
from experiments.studies.measurements import Measurements, Record
from experiments.studies.study import NEVER, Study
from nni_magic.analysis.interference import InterferenceStudy, interference_study
from nni_magic.children import samples
from nni_magic.samplers import UniformSampler
from nni_magic.supernet.checkpoint import load_supernet
from nni_magic.support.errors import check_count

__all__ = ["N_SCORED", "InterferenceMeasurements"]

_logger = logging.getLogger(__name__)

N_SCORED = 16
"""Random children whose mean loss says how far a supernet is trained."""


class InterferenceMeasurements(Measurements):
    """Interference between the children of trained supernets.

    Parameters
    ----------
    study
        Trains the supernets.
    settings
        The command line.

    Raises
    ------
    ValueError
        If the plan has no such supernets, the space no such layers, the data fewer rows, or a
        number is too small.
    """

    def __init__(self, study: Study, settings: argparse.Namespace) -> None:
        planned = study.plan.supernets
        check_supernets(study.plan, settings.supernets or ())
        seeds = {name: planned[name].seeds for name in settings.supernets or planned}
        super().__init__(study, study.output / "interference", seeds)
        for name, least in (("rows", 1), ("repetitions", 2), ("seed", 0)):
            check_count(name, getattr(settings, name), at_least=least)
        if settings.rows > (available := len(study.domain.data.train)):
            raise ValueError(
                f"rows is {settings.rows}; accepted are up to {available}, the training data"
            )
        self.settings = settings
        n_layers = len(samples.candidates(study.domain.make_space()))
        self.wanted = [
            (j, m) for j in settings.shared_layers for m in settings.differences
            if j + m <= n_layers
        ]  # fmt: skip
        if not self.wanted:
            raise ValueError(
                f"shared_layers is {settings.shared_layers} and differences is "
                f"{settings.differences}; accepted are some that together fit into {n_layers} "
                "layers"
            )

    def made_with(self, name: str) -> dict[str, Any]:
        chosen = vars(self.settings)
        measured = {key: chosen[key] for key in ("rows", "repetitions", "seed")}
        return {**self.study.made_supernet(name), "interference": measured}

    def is_whole(self, record: Record) -> bool:
        measured = InterferenceStudy.from_json(record).matrices
        return measured.keys() >= set(self.wanted) and record.get("mean_loss") is not None

    def measure(self, name: str, seed: int) -> None:
        if self.study.read_supernet(name, seed) is None:
            return  # Another process still trains it, and then measures it, too.
        record = self.read(name, seed)
        found = None if record is None else InterferenceStudy.from_json(record)
        loss = (record or {}).get("mean_loss")
        loss = self.mean_loss(name, seed) if loss is None else loss
        if found is not None:
            self.save(name, seed, {"mean_loss": loss, **found.to_json()})
        go_on = self.measuring(name, seed)
        for j, m in self.wanted:
            if found is None or (j, m) not in found.matrices:
                found = go_on(shared_layers=[j], differences=[m], done=found)
                self.save(name, seed, {"mean_loss": loss, **found.to_json()})
                _logger.info(
                    "%s, seed %d, layer %d, %d differences: %.3f",
                    name, seed, j, m, found.mean_cosine(j, m),
                )  # fmt: skip

    def measuring(self, name: str, seed: int) -> partial[InterferenceStudy]:
        """The function that measures a supernet, given what to measure."""
        domain, planned = self.study.domain, self.study.plan.supernets[name]
        supernet = load_supernet(self.study.weights(name, seed), domain.make_space())
        evaluator = self.study.evaluator(planned.steps, seed, {})
        return partial(
            interference_study, supernet, evaluator, self.batches(evaluator),
            repetitions=self.settings.repetitions, seed=self.settings.seed,
        )  # fmt: skip

    def mean_loss(self, name: str, seed: int) -> float:
        """Mean loss of random children with a supernet's weights."""
        sampler = UniformSampler(self.study.domain.make_space(), seed=self.settings.seed)
        children = [sampler.next() for _ in range(N_SCORED)]
        return float(np.mean(self.study.score(self.study.weights(name, seed), children)))

    def batches(self, evaluator: Lightning) -> list[Any]:
        """The first rows of the training data; images are augmented by the command line's seed."""
        size, settings = self.study.plan.training.batch_size, self.settings
        return self.study.first_batches(evaluator, settings.rows, size, settings.seed)

    def try_out(self) -> None:
        """Measure once with untrained weights, so that errors show before any training.

        Raises
        ------
        ValueError
            If the space is no chain of choice blocks with the same candidates.
        """
        evaluator = self.study.evaluator(NEVER, 0, {})
        j, m = self.wanted[0]
        interference_study(
            self.study.domain.make_space(), evaluator, self.batches(evaluator)[:1],
            shared_layers=[j], differences=[m], repetitions=2, seed=0,
        )  # fmt: skip
