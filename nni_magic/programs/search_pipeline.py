"""The whole pipeline as the trials of one ``nnictl`` experiment, whatever the space and the data.

A supernet is trained, its children are searched by evolution on inherited weights, and the best
ones trained from scratch beside a hand-made baseline. Which of these a trial does is what
:class:`nni_magic.manager.tuner.MagicTuner` gives it; see :mod:`nni_magic.manager.pipeline` for the
files.
"""

from __future__ import annotations

import argparse
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from nni.mutable import Sample

from ..children.samples import candidates, check_sample, digest
from ..export import export_child
from ..manager.pipeline import Pipeline
from ..manager.trial import ManagedTrial, one_clear_message
from ..search import ChildEvaluator, Population
from ..search.population import check_count
from ..supernet.checkpoint import load_supernet
from ..support.errors import naming
from ..support.records import provenance
from ..tasks.domain import Domain
from .options import add_retraining_options, plain
from .training import check_retraining, train_child, train_supernet

__all__ = ["SearchPipeline", "add_pipeline_options", "check_search", "run_trial"]


def add_pipeline_options(parser: argparse.ArgumentParser) -> None:
    """Add what the search and the training of the best children need."""
    parser.add_argument("--population", type=int, default=50, help="children of a generation")
    add_retraining_options(parser, epochs=5)


def check_search(settings: argparse.Namespace) -> None:
    """Make sure that there will be children to search, before hours go into their supernet.

    Raises
    ------
    ValueError
        If a generation is empty, or progressive shrinking would leave one child alone.
    """
    check_count("population", settings.population)
    if settings.n_drop:
        raise ValueError(
            f"n_drop is {settings.n_drop}; accepted is 0: progressive shrinking leaves one child, "
            "and nothing to search; to shrink, run python -m nni_magic.programs.bert or "
            "nni_magic.programs.proxyless"
        )


class SearchPipeline(ABC):
    """What the stages of the pipeline do.

    Parameters
    ----------
    domain
        The space and the data; its ``settings.output`` is the folder of this trial.
    trial
        The line to the manager.
    folder
        Where the trials of the experiment share files.
    """

    baseline_name: str
    """What the tuner calls the baseline."""

    def __init__(self, domain: Domain, trial: ManagedTrial, folder: Path) -> None:
        self.domain = domain
        self.settings = domain.settings
        self.trial = trial
        self.folder = folder

    @abstractmethod
    def baseline(self) -> Sample:
        """A child made by hand."""

    def filter(self) -> Any:
        """Constraint on the children that are searched."""
        return self.domain.filter

    def run(self, pipeline: Pipeline) -> Mapping[str, float]:
        """Do the part that the tuner wants of this trial.

        Raises
        ------
        ValueError
            If nothing could be searched, the space has no such baseline, or the best children could
            not be trained.
        """
        check_search(self.settings)
        with naming(f"baseline {self.baseline_name}"):
            check_sample(self.baseline(), candidates(self.domain.make_space()))
        check_retraining(self.domain)
        return pipeline.run(
            train_supernet=self.train_supernet,
            population=self.population,
            score=lambda samples: self.score(samples),
            retrain=self.retrain,
            train_baseline=self.train_baseline,
        )

    # The stages

    def train_supernet(self) -> Mapping[str, float]:
        """Train it into the shared folder; its metric is the loss of the best child known."""
        strategy = train_supernet(self.domain, self.domain.make_space(), self.trial, self.folder)
        return {"default": next(strategy.list_models()).metrics.final}

    def population(self) -> Population:
        """The children before the first generation."""
        settings = self.settings
        return Population(
            self.domain.make_space(), size=settings.population, seed=settings.seed,
            filter=self.filter(),
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
        """Train the baseline as a found child is."""
        if name != self.baseline_name:
            raise ValueError(f"baseline is {name!r}; accepted is {self.baseline_name}")
        return self._train(self.baseline(), "baseline", rank=1)

    def _train(self, sample: Sample, kind: str, rank: int) -> Mapping[str, float]:
        checkpoint = self.folder / f"{kind}_{rank}_{digest(sample)}.ckpt"
        child, metrics = train_child(
            self.domain, sample, self.trial, checkpoint, self.settings.output
        )
        if not self.trial.is_first_rank:
            return {}
        folder = export_child(
            child,
            sample,
            metrics["loss"],
            self.folder / kind,
            rank=rank,
            space=self.domain.make_space(),
            metric="test_loss",
            args=(self.domain.example(),),
            provenance=provenance(
                seed=self.settings.seed,
                checkpoint=checkpoint,
                settings=plain(self.settings),
                data=self.domain.describe(),
            ),
        )
        record = json.loads((folder / "child.json").read_text())
        return {
            "default": metrics["loss"],
            "accuracy": metrics["accuracy"],
            "params": record["params"],
            "flops": record["flops"],
            **self.domain.costs(sample),
        }


def run_trial(
    parse: Callable[[], argparse.Namespace],
    domain: type[Domain],
    stages: type[SearchPipeline],
) -> None:
    """Run one trial as its program's ``main``."""
    with one_clear_message():
        settings = parse()
        trial = ManagedTrial()
        settings.output = Path(os.environ["NNI_OUTPUT_DIR"])
        pipeline = Pipeline(trial)
        stages(domain(settings), trial, pipeline.folder).run(pipeline)
