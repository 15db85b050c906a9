"""Train and score what a study of rank correlation needs, a file for each result."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from nni.mutable import Sample
from nni.nas.evaluator.pytorch import Lightning
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.space import RawFormatModelSpace, model_context
from torch.utils.data import DataLoader, Subset

from experiments.studies.claims import claimed
from experiments.studies.kept import KeptTraining
from experiments.studies.plan import EVALUATION_BATCH, Plan
from experiments.studies.results import Results
from experiments.studies.trainings import VALIDATION_BATCHES
from nni_magic.losses.alignment import Alignment
from nni_magic.losses.targets import AnchorTarget
from nni_magic.programs.training import check_epoch
from nni_magic.search import ChildEvaluator
from nni_magic.supernet.calibration import tracking_norms
from nni_magic.supernet.checkpoint import load_supernet
from nni_magic.support.files import write_json
from nni_magic.support.flops import count_flops, count_params

__all__ = ["NEVER", "Missing", "Study"]

_logger = logging.getLogger(__name__)

Missing = Iterator[tuple[Path, Callable[[], dict[str, Any]]]]
"""Files that are not there, each with the function that makes its content."""

QUIET: dict[str, Any] = {
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "num_sanity_val_steps": 0,
    "devices": 1,
}
NEVER = 10**9
"""Steps after which a learning rate that does not fall would be 0."""


class Study(Results):
    """Trains and scores what a study has not yet, and keeps it as its results.

    Parameters
    ----------
    plan, output, cache, data
        As of :class:`~experiments.studies.results.Results`.

    Raises
    ------
    ValueError
        If the space has too few children, or the training data have too few batches.
    """

    def __init__(self, plan: Plan, output: Path, cache: Path, data: Path | None = None) -> None:
        super().__init__(plan, output, cache, data)
        if plan.supernets:
            evaluator = self.evaluator(NEVER, 0, {})
            check_epoch(evaluator, plan.epoch_steps, plan.training.batch_size)

    def missing_children(self) -> Missing:
        """Files of ground truths that are not there, each with the function that makes its content.

        Raises
        ------
        ValueError
            If a result is of another plan.
        """
        for child, seed in self.plan.children.trainings():
            if self.read_child(child, seed) is None:
                yield self.child_file(child, seed), partial(self.train_child, child, seed)

    def missing_supernets(self) -> Missing:
        """Likewise, files of supernets that are not there or have not scored all children.

        Raises
        ------
        ValueError
            If a result is of another plan, or came without the weights that have to score more.
        """
        for name, seed in self.plan.trainings():
            path, found = self.supernet_file(name, seed), self.read_supernet(name, seed)
            if found is None:
                yield path, partial(self.train_supernet, name, seed)
            elif len(found["scores"]) < len(self.children):
                weights = self.weights(name, seed)
                yield path, partial(self.score_others, weights, found)

    def missing(self) -> Missing:
        """All that is missing, the ground truth first."""
        yield from self.missing_children()
        yield from self.missing_supernets()

    def work(self, missing: Callable[[], Missing] | None = None) -> None:
        """Train and score what is missing and claimed by no other process.

        Parameters
        ----------
        missing
            Lists it; by default all of it.

        Raises
        ------
        ValueError
            If a result is of another plan.
        """
        missing = missing or self.missing
        for path in dict(missing()):
            with claimed(path) as mine:
                # Meanwhile another process may have finished it.
                if mine and (make := dict(missing()).get(path)):
                    write_json(path, make())
                    _logger.info("%s", path)

    # The ground truth

    def train_child(self, number: int, seed: int) -> dict[str, Any]:
        """Train a child of the plan from scratch; gives its ground truth, on data of its own."""
        return self.train_sample(self.children[number], seed)

    def train_sample(self, sample: Sample, seed: int) -> dict[str, Any]:
        """Train any child from scratch; gives its ground truth, on data of its own."""
        with model_context(sample):
            child = self.domain.seeded_space(seed)
        evaluator = self.evaluator(self.plan.children.steps, seed, {"limit_val_batches": 0})
        started = time.process_time()
        evaluator.evaluate(child)
        seconds = time.process_time() - started
        return {
            "made_with": self.made_child(sample),
            "seed": seed,
            **self.truth(evaluator),
            "params": count_params(child),
            "flops": count_flops(child.eval(), (self.domain.example()[:1],)),
            "cpu_seconds": seconds,
            "device": _device(evaluator),
        }

    def truth(self, evaluator: Lightning) -> dict[str, float]:
        """Metrics on the data of the ground truth."""
        trainer = pl.Trainer(**QUIET)
        [found] = trainer.validate(evaluator.module, self.domain.test_data(), verbose=False)
        return {"val_loss": found["val_loss"], "val_accuracy": found[self.domain.accuracy]}

    # The supernets

    def train_supernet(
        self, name: str, seed: int, callbacks: Sequence[pl.Callback] = ()
    ) -> dict[str, Any]:
        """Train a supernet, or go on with it after a kill; gives its scores of the children."""
        supernets = self.plan.supernets[name]
        space = self.domain.seeded_space(seed)
        strategy = supernets.make_strategy(seed)
        checkpoint = self.checkpoint(name, seed)
        kept = KeptTraining(checkpoint.with_suffix(".part"), self.made_supernet(name))
        settings = kept.trainer_kwargs
        evaluator = self.supernet_evaluator(
            name, seed, {**settings, "callbacks": [*callbacks, *settings["callbacks"]]}
        )
        kept.go_on(evaluator)
        strategy(RawFormatModelSpace.from_model(space, evaluator), SequentialExecutionEngine())
        seconds = kept.cpu_time.seconds
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        beside = checkpoint.with_suffix(".ckpt.tmp")
        evaluator.trainer.save_checkpoint(beside, weights_only=True)
        beside.replace(checkpoint)
        kept.over()
        module: Any = strategy.oneshot_module
        targets = [term.target for term in module.terms if isinstance(term, Alignment)]
        anchors = [target.anchor.sample for target in targets if isinstance(target, AnchorTarget)]
        return {
            "made_with": self.made_supernet(name),
            "supernets": name,
            "seed": seed,
            **self.scores(checkpoint, self.children),
            "last_child": module.child,
            **({"anchor": anchors[0]} if anchors else {}),
            "cpu_seconds": seconds,
            "device": _device(evaluator),
        }

    def score_others(self, checkpoint: Path, found: dict[str, Any]) -> dict[str, Any]:
        """Score the children that the plan had not when the supernet was trained."""
        others = self.children[len(found["scores"]) :]
        more = self.scores(checkpoint, others)
        return {**found, **{key: found[key] + scores for key, scores in more.items()}}

    def scores(self, checkpoint: Path, children: list[Sample]) -> dict[str, list[float]]:
        """Scores of children; where there is BatchNorm, also without calibration."""
        scores = {"scores": self.score(checkpoint, children)}
        if tracking_norms([self.domain.make_space()]):
            scores["uncalibrated"] = self.score(checkpoint, children, calibration_batches=0)
        return scores

    def score(
        self, checkpoint: Path, children: list[Sample], calibration_batches: int = 4
    ) -> list[float]:
        """Validation losses of children with the weights that they inherit."""
        return self.child_evaluator(checkpoint, calibration_batches)(children)

    def child_evaluator(self, checkpoint: Path, calibration_batches: int = 4) -> ChildEvaluator:
        """What scores the children of a supernet."""
        supernet = load_supernet(checkpoint, self.domain.make_space())
        evaluator = self.domain.search_evaluator(
            batch_size=EVALUATION_BATCH, trainer_kwargs={"devices": 1}
        )
        n_batches = self.plan.score_rows // EVALUATION_BATCH
        return ChildEvaluator(
            supernet, evaluator, n_batches=n_batches, calibration_batches=calibration_batches
        )

    def supernet_evaluator(self, name: str, seed: int, trainer: dict[str, Any]) -> Lightning:
        """Make the evaluator of a supernet's training, with settings of Lightning's trainer."""
        supernets, epoch_steps = self.plan.supernets[name], self.plan.epoch_steps
        planned = {
            "max_steps": -1, "max_epochs": supernets.steps // epoch_steps,
            "limit_train_batches": epoch_steps, "limit_val_batches": VALIDATION_BATCHES,
        }  # fmt: skip
        steps = supernets.steps if supernets.decay else NEVER
        return self.evaluator(steps, seed, {**planned, **trainer}, supernets.learning_rate)

    def evaluator(
        self, steps: int, seed: int, trainer: dict[str, Any], learning_rate: float | None = None
    ) -> Lightning:
        """Make the evaluator of a training; ``trainer`` holds settings of Lightning's trainer."""
        training = self.plan.training
        return self.domain.evaluator(
            total_steps=steps,
            batch_size=training.batch_size,
            seed=seed,
            learning_rate=learning_rate or training.learning_rate,
            warmup_steps=training.warmup_steps,
            weight_decay=training.weight_decay,
            trainer_kwargs={**QUIET, **trainer},
        )

    def first_batches(
        self, evaluator: Lightning, rows: int, batch_size: int, seed: int
    ) -> list[Any]:
        """The first rows of the training data; what augments images is drawn by the seed alone."""
        loader = DataLoader(
            Subset(self.domain.data.train, range(rows)), batch_size,
            collate_fn=evaluator.train_dataloaders.collate_fn,
        )  # fmt: skip
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return list(loader)


def _device(evaluator: Lightning) -> str:
    """Where an evaluator's training ran: the GPU's name, or ``cpu``."""
    device = evaluator.trainer.strategy.root_device
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
