"""Random search with early stopping, at the optimizer steps of a supernet: successive halving.

As many random children as the steps allow are trained from scratch, all for a quarter of a
training, the better half for a second quarter, and the better half of these to the end
[Jamieson2016]. What stops a child is its loss on the rows that score children in a supernet, so
that the ground truth is on rows that nothing was chosen on. A child that goes on in the middle of
an epoch begins with the epoch's first rows again. Of the child that is left the ground truth is
that of any other child, and not its luck in this one training.

[Jamieson2016] Jamieson and Talwalkar, Non-stochastic Best Arm Identification and Hyperparameter
Optimization, AISTATS 2016.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
from nni.mutable import Sample
from nni.nas.evaluator.pytorch import Lightning
from nni.nas.space import model_context

from experiments.studies.measurements import Measurements
from experiments.studies.plan import EVALUATION_BATCH
from experiments.studies.study import QUIET, Study
from nni_magic.samplers import UniformSampler

__all__ = ["Halvings", "n_children", "successive_halving"]

STOPS = (0.25, 0.5, 1.0)
"""Shares of a training after which the better half goes on."""


class Halvings(Measurements):
    """Successive halving at the steps and with the seeds of the plan's first supernets.

    Where the ground truth is published there is none, as no child can be trained for a while.

    Parameters
    ----------
    study
        Trains the children.
    """

    def __init__(self, study: Study) -> None:
        first = next(iter(study.plan.supernets.values()))
        self.budget = first.steps
        seeds = first.seeds if study.domain.trains_children else ()
        super().__init__(study, study.output / "searched", {"halving": seeds})

    def made_with(self, name: str) -> dict[str, Any]:
        return {**self.study.made_child({}), "budget": self.budget}

    def measure(self, name: str, seed: int) -> None:
        self.save(name, seed, successive_halving(self.study, self.budget, seed))


def n_children(budget: int, steps: int) -> int:
    """How many children to begin with, so that all of it takes no more steps than there are.

    >>> n_children(360, 180)  # 4 children to 45 steps, 2 to 90, 1 to 180
    4
    """
    n = 1
    while cost(n + 1, steps) <= budget:
        n += 1
    return n


def cost(n: int, steps: int) -> int:
    """Optimizer steps of n children, of which each round the better half goes on.

    >>> cost(4, 180)
    360
    """
    total, before = 0, 0
    for stop in STOPS:
        reached = round(stop * steps)
        total, before, n = total + n * (reached - before), reached, max(1, n // 2)
    return total


def successive_halving(study: Study, budget: int, seed: int) -> dict[str, Any]:
    """Find a child.

    Parameters
    ----------
    study
        Trains the children as those of the ground truth.
    budget
        Optimizer steps in all.
    seed
        Draws the children and trains them.
    """
    steps, started = study.plan.children.steps, time.process_time()
    sampler = UniformSampler(study.domain.make_space(), seed=[seed, 2])
    n = n_children(budget, steps)
    alive = [sampler.next() for _ in range(n)]
    with tempfile.TemporaryDirectory() as folder:
        paths = {id(one): Path(folder) / f"{i}.ckpt" for i, one in enumerate(alive)}
        for stop in STOPS:
            stopped = round(stop * steps)
            trained = [_train(study, one, seed, stopped, paths[id(one)]) for one in alive]
            losses = [_score(study, evaluator) for evaluator in trained]
            # One that is not a number, of a child that has diverged, comes last.
            best = np.argsort(losses, kind="stable")[: max(1, len(alive) // 2)]
            alive = [alive[i] for i in best]
    return {"found": alive[0], "n_children": n, "steps": cost(n, steps),
            "cpu_seconds": time.process_time() - started}  # fmt: skip


def _train(study: Study, sample: Sample, seed: int, stop: int, path: Path) -> Lightning:
    """Train a child up to a step, from where its file stands."""
    with model_context(sample):
        child = study.domain.seeded_space(seed)
    settings = {"limit_val_batches": 0, "max_steps": stop}
    evaluator = study.evaluator(study.plan.children.steps, seed, settings)
    if path.exists():
        evaluator.fit_kwargs = {"ckpt_path": str(path), "weights_only": True}
    evaluator.evaluate(child)
    evaluator.trainer.save_checkpoint(path)
    return evaluator


def _score(study: Study, evaluator: Lightning) -> float:
    """Loss of a child on the rows that score children."""
    data = study.domain.search_evaluator(batch_size=EVALUATION_BATCH).val_dataloaders
    n_batches = study.plan.score_rows // EVALUATION_BATCH
    trainer = pl.Trainer(**{**QUIET, "limit_val_batches": n_batches})
    [found] = trainer.validate(evaluator.module, data, verbose=False)
    return float(found["val_loss"])
