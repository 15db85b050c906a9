"""What a trial of :class:`~nni_magic.manager.tuner.MagicTuner` calls to do its part.

A trial program says how each stage is done, and :class:`Pipeline` does the one that the tuner
wants of this trial::

    trial = ManagedTrial()
    pipeline = Pipeline(trial)
    pipeline.run(
        train_supernet=lambda: ...,          # trains, saves to pipeline.folder, gives its metric
        population=lambda: Population(...),  # as it is before the first generation
        score=lambda samples: ...,           # gives the samples' scores with inherited weights
        retrain=lambda child: ...,           # trains it from scratch, gives its metric
    )

The trials of an experiment share a folder, on whichever machines they run. What they did lies there
as JSON, every file whole or not there at all:

============================  ==================================================================
file                          content
============================  ==================================================================
``supernet.json``             what the supernet's trial reported
``search.json``               the population after the last whole generation, and what the trials
                              of the generations reported
``generation_3/child_7.json``  a child and its score, where every child has a trial of its own
``rank_1.json``               the best child and what its retraining reported
``baseline_bert.json``        what the training of a baseline reported
============================  ==================================================================

A trial that finds its work done, because one before it was killed between writing and reporting,
only reports it again. One that is killed earlier leaves nothing, and its work is done from the
start, except for what the callables keep themselves, such as a checkpoint of the supernet.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from nni.mutable import Sample

from ..children.json_samples import json_form
from ..children.samples import digest
from ..scoring.scores import Score, checked_scores, direction
from ..search.population import Population
from ..support.errors import is_finite
from ..support.files import read_record, write_json
from ..support.locks import sole_writer
from .generations import Generations, Report
from .shared_folder import check_shared, on_many_machines, pipeline_folder
from .stages import Task
from .trial import ManagedTrial

__all__ = ["Pipeline"]


class Pipeline:
    """Does the part of the pipeline that the tuner wants of this trial.

    Parameters
    ----------
    trial
        The line to the manager.
    folder
        Where the trials of the experiment share files; by default see
        :func:`~nni_magic.manager.shared_folder.experiment_folder`, which only those of one machine
        share.

    Raises
    ------
    ValueError
        If the trial may run on any of several machines, and no folder is given.

    Attributes
    ----------
    task : Task
        What this trial is to do.
    """

    points = 5
    """How many points the curve of a generation has."""

    patience = 120
    """Seconds to wait on a training of a machine that was lost.

    NNI ends its trials after 30, and NFS gives up the locks of a dead machine after 90.
    """

    def __init__(self, trial: ManagedTrial, folder: str | os.PathLike[str] | None = None) -> None:
        self.trial = trial
        self.task = Task.parse(trial.parameters)
        self.folder = pipeline_folder(folder)
        self.folder.mkdir(parents=True, exist_ok=True)

    def run(
        self,
        *,
        train_supernet: Callable[[], Mapping[str, float]],
        population: Callable[[], Population],
        score: Score,
        retrain: Callable[[Sample], Mapping[str, float]],
        train_baseline: Callable[[str], Mapping[str, float]] | None = None,
    ) -> Report:
        """Do this trial's task and report it. Only what its stage needs is called.

        What a training gives is the trial's result: under ``default`` its metric, and other
        numbers that the web page can show. Points of its curve it reports itself.

        Parameters
        ----------
        train_supernet
            Trains the supernet and saves it where ``score`` finds it.
        population
            Makes the population as it is before the first generation.
        score
            Scores children with the weights that they inherit, in a few calls a generation.
        retrain
            Trains a child from scratch.
        train_baseline
            Trains the baseline of that name.

        Returns
        -------
        dict
            The numbers reported. Under DDP only the first rank reports; others give an empty dict.

        Raises
        ------
        ValueError
            If a training's metric or all scores are not finite numbers, or the task cannot be
            done by this program or with the files that are there.
        """
        task = self.task
        if task.stage != "supernet":
            check_shared(self.folder)
        if task.stage == "supernet":
            report = self._once("supernet", {}, train_supernet)
        elif task.baseline is not None:
            report = self._baseline(task.baseline, train_baseline)
        else:
            generations = Generations(self.folder, population())
            if task.rank is not None:
                report = self._retrain(task.rank, generations, retrain)
            else:
                report = self._search(cast(int, task.generation), generations, score)
        if report:
            # By the task's name the tuner knows what is done; see its Schedule.
            final: dict[str, Any] = {**report, "task": str(task)}
            self.trial.report_final(**final)
        return report

    def _once(
        self, name: str, about: dict[str, Any], train: Callable[[], Mapping[str, float]]
    ) -> Report:
        """Train and keep the result, unless there is one already, of the same child."""
        file = self.folder / f"{name}.json"
        if (kept := _kept(file, about.get("digest"))) is not None:
            return kept
        if not self.trial.is_first_rank:
            train()
            return {}
        with self._alone(file.with_suffix(".lock")):
            if (kept := _kept(file, about.get("digest"))) is not None:  # by whom it waited for
                return kept
            report = self._checked(train())
            write_json(file, {**about, "report": report})
        return report

    def _checked(self, given: Mapping[str, float]) -> Report:
        report = {key: float(value) for key, value in given.items()}
        if "default" not in report or not all(map(math.isfinite, report.values())):
            raise ValueError(
                f"the training of {self.task} gave {report}; "
                "accepted are finite numbers, one of them named 'default'"
            )
        return report

    @contextlib.contextmanager
    def _alone(self, lock: Path) -> Iterator[None]:
        """Refuse a training that another trial does now."""
        lock.touch()
        patience = self.patience if on_many_machines() else 0
        with sole_writer(lock, f"the lock of {self.task}", patience=patience):
            try:
                yield
            finally:
                lock.unlink(missing_ok=True)

    def _baseline(self, name: str, train: Callable[[str], Mapping[str, float]] | None) -> Report:
        if train is None:
            raise ValueError(f"the tuner wants baseline {name!r}, but train_baseline is not given")
        return self._once(f"baseline_{name}", {"baseline": name}, lambda: train(name))

    def _retrain(
        self,
        rank: int,
        generations: Generations,
        retrain: Callable[[Sample], Mapping[str, float]],
    ) -> Report:
        generations.complete_before(math.inf)
        ranked = generations.ranked()
        if rank > len(ranked):
            raise ValueError(
                f"rank is {rank}; accepted are 1 to {len(ranked)}, the children that the search in "
                f"{self.folder} has scored"
            )
        child = ranked[rank - 1]
        about = {
            "sample": json_form(child.sample),
            "digest": digest(child.sample),
            "inherited_score": child.score,
        }
        return self._once(f"rank_{rank}", about, lambda: retrain(child.sample))

    def _search(self, generation: int, generations: Generations, score: Score) -> Report:
        direction(score, generations.population.mode)
        generations.complete_before(generation)
        if self.task.child is not None:
            report = self._score_child(generation, self.task.child, generations, score)
        elif str(generation) in generations.reports:
            report = generations.reports[str(generation)]
        else:
            report = self._score_generation(generation, generations, score)
        if not report:
            raise ValueError(
                f"no score is a finite number after {self.task}: the supernet's training has "
                "diverged, or the metric is no measure"
            )
        return report

    def _score_generation(self, generation: int, generations: Generations, score: Score) -> Report:
        children = generations.population.ask()
        scores: list[float] = []
        size = max(1, math.ceil(len(children) / self.points))
        for start in range(0, len(children), size):
            part = children[start : start + size]
            scores += checked_scores(part, score(part))
            if report := generations.report(scores):
                # No default: on the axis of trainings a search would look like the best of them.
                self.trial.report_intermediate(best=report.pop("default"), **report)
        return generations.complete(generation, scores) if generations.report(scores) else {}

    def _score_child(
        self, generation: int, number: int, generations: Generations, score: Score
    ) -> Report:
        if self.task.children != (size := generations.population.size):
            raise ValueError(
                f"the tuner's children is {self.task.children}; accepted is the size of the "
                f"trial's population, {size}"
            )
        if (sample := generations.unscored(generation, number)) is not None:
            [own] = checked_scores([sample], score([sample]))
            if not math.isfinite(own):
                return {}
            generations.keep(generation, number, own)
        return generations.child_report(generation, number)


def _kept(file: Path, child: str | None) -> Report | None:
    """What a record of a training reports, if there is one of that child."""
    kinds = {} if child is None else {"digest": str}
    record = read_record(file, report=Mapping, **kinds)
    if record is None:
        return None
    report: Report = record["report"]
    for name, value in report.items():
        if not is_finite(value):
            raise ValueError(
                f"{str(file)!r} is damaged: its {name!r} is {value!r}; accepted are finite numbers"
            )
    if "default" not in report:
        raise ValueError(f"{str(file)!r} is damaged: its 'report' lacks 'default'")
    return report if child is None or record["digest"] == child else None
