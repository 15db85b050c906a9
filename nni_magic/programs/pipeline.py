"""The whole pipeline as the trials of one ``nnictl`` experiment, whatever the task.

::

    nni-magic example bert_search .
    nnictl create --config bert_search.yml

A supernet is trained, its children are searched by evolution on inherited weights, and the best
ones trained from scratch beside baselines: a hand-made child and random ones, ``random_1`` and so
on. Which of these a trial does is what
:class:`nni_magic.manager.tuner.MagicTuner` gives it; see :mod:`nni_magic.manager.pipeline` for the
files.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import nni_bootstrap  # noqa: F401
from nni.mutable import Sample

from ..children.samples import candidates, check_sample, digest
from ..manager.pipeline import Pipeline
from ..manager.trial import ManagedTrial
from ..samplers import UniformSampler
from ..samplers.streams import Stream
from ..search import ChildEvaluator, Population
from ..search.prediction import population_of
from ..supernet.checkpoint import load_supernet
from ..support.errors import check_choice, naming
from ..tasks.domain import Domain
from ..tasks.registry import Task
from .concerns import check_searched
from .exporting import write_child
from .settings import PipelineSettings
from .training import check_retraining, train_child, train_supernet

__all__ = ["Stages", "run_trial"]


class Stages:
    """What the stages of the pipeline do.

    Parameters
    ----------
    domain
        The space and the data.
    settings
        Those of the program.
    trial
        The line to the manager.
    folder
        Where the trials of the experiment share files.
    output
        Folder of this trial.
    """

    def __init__(
        self,
        domain: Domain,
        settings: PipelineSettings,
        trial: ManagedTrial,
        folder: Path,
        output: Path,
    ) -> None:
        self.domain = domain
        self.settings = settings
        self.trial = trial
        self.folder = folder
        self.output = output

    def run(self, pipeline: Pipeline) -> Mapping[str, float]:
        """Do the part that the tuner wants of this trial.

        Raises
        ------
        ValueError
            If the strategy searches no children, the space has no such baseline, or the best
            children could not be trained.
        """
        check_searched(str(self.settings.supernet.strategy))
        for name in pipeline.task.baselines or ():
            self.baseline(name)
        with naming(f"baseline {self.domain.baseline_name}"):
            check_sample(self.domain.baseline(), candidates(self.domain.make_space()))
        check_retraining(self.domain, self.settings.retraining)
        return pipeline.run(
            train_supernet=self.train_supernet,
            population=self.population,
            score=lambda samples: self.score(samples),
            retrain=self.retrain,
            train_baseline=self.train_baseline,
        )

    # The stages

    def train_supernet(self) -> Mapping[str, float]:
        """Train the supernet in the shared folder; the metric is the loss of its best child."""
        space = self.domain.seeded_space()
        strategy = train_supernet(
            self.domain, self.settings.supernet, space, self.trial, self.folder, logs=self.output,
            teacher=self.settings.teaching,
        )  # fmt: skip
        return {"default": next(strategy.list_models()).metrics.final}

    def population(self) -> Population:
        """The children before the first generation."""
        return population_of(
            self.settings.search_by, self.domain.make_space(), size=self.settings.population,
            seed=self.domain.settings.seed, filter=self.domain.filter_beside_baseline,
        )  # fmt: skip

    @cached_property
    def score(self) -> ChildEvaluator:
        """Scores children with the weights that they inherit from the supernet."""
        supernet = load_supernet(self.folder / "supernet.ckpt", self.domain.make_space())
        return self.domain.child_evaluator(supernet)

    def retrain(self, child: Sample) -> Mapping[str, float]:
        """Train a found child from scratch, and export it."""
        return self._train(child, "children", rank=self.trial.parameters["rank"])

    def train_baseline(self, name: str) -> Mapping[str, float]:
        """Train a baseline in the way that found children are trained, and score it as they were.

        Raises
        ------
        ValueError
            If there is no baseline of that name.
        """
        sample = self.baseline(name)
        trained = self._train(sample, f"baseline_{name}", rank=1)
        return {**trained, "inherited": self.score([sample])[0]} if trained else {}

    def baseline(self, name: str) -> Sample:
        """Give the hand-made child, or ``random_<n>``: the n-th random child that could be found.

        Raises
        ------
        ValueError
            If there is no baseline of that name.
        """
        if (number := re.fullmatch(r"random_([1-9]\d{0,2})", name)) is None:
            check_choice("baseline", name, (self.domain.baseline_name, "random_1 to random_999"))
            return self.domain.baseline()
        sampler = UniformSampler(
            self.domain.make_space(), seed=[self.domain.settings.seed, Stream.BASELINES],
            filter=self.domain.filter_beside_baseline,
        )  # fmt: skip
        return [sampler.next() for _ in range(int(number[1]))][-1]

    def _train(self, sample: Sample, kind: str, rank: int) -> Mapping[str, float]:
        checkpoint = self.folder / f"{kind}_{rank}_{digest(sample)}.ckpt"
        child, metrics = train_child(
            self.domain, self.settings.retraining, sample, self.trial, checkpoint, self.output
        )
        if not self.trial.is_first_rank:
            return {}
        folder = write_child(
            self.domain, self.settings, child, sample, metrics["loss"], self.folder / kind,
            metric="test_loss", checkpoint=checkpoint, rank=rank,
        )  # fmt: skip
        record = json.loads((folder / "child.json").read_text())
        return {
            "default": metrics["loss"],
            "accuracy": metrics["accuracy"],
            "params": record["params"],
            "flops": record["flops"],
            **self.domain.costs(sample),
        }


def run_trial(task: Task, settings: PipelineSettings) -> None:
    """Do the part of the pipeline that the tuner wants of this trial.

    Raises
    ------
    ValueError
        If there is no experiment.
    """
    if "NNI_OUTPUT_DIR" not in os.environ:
        raise ValueError(
            "the pipeline's stages are the trials of an experiment: write one with nni-magic "
            "example, and start it with nnictl create"
        )
    trial = ManagedTrial()
    shared = settings.shared_folder
    pipeline = Pipeline(trial, shared and shared.absolute() / os.environ["NNI_EXP_ID"])
    output = Path(os.environ["NNI_OUTPUT_DIR"])
    Stages(task.load()(settings.task), settings, trial, pipeline.folder, output).run(pipeline)
