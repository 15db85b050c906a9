"""Which task of the pipeline starts when. Nothing here needs torch or NNI."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from typing import Any

from .stages import Task

__all__ = ["Schedule", "pipeline_steps"]

_logger = logging.getLogger(__name__)


def pipeline_steps(
    generations: int, top_k: int, children: int | None, baselines: Sequence[str]
) -> list[list[Task]]:
    """List the tasks of a pipeline, step after step.

    Parameters
    ----------
    generations
        Generations of the search, a step each.
    top_k
        How many of the best children to train from scratch.
    children
        Children of a generation, to score each by a task of its own; ``None`` for one task that
        scores them all.
    baselines
        Names of models to train beside the best children.

    Examples
    --------
    >>> for step in pipeline_steps(2, 1, None, ["bert"]):
    ...     print([str(task) for task in step])
    ['supernet']
    ['search, generation 1']
    ['search, generation 2']
    ['retrain, rank 1', 'retrain, baseline bert']
    """
    numbers: Sequence[int | None] = [None] if children is None else range(1, children + 1)
    search = [
        [
            Task(stage="search", generation=generation, child=child, children=children)
            for child in numbers
        ]
        for generation in range(1, generations + 1)
    ]
    retrain = [Task(stage="retrain", rank=rank) for rank in range(1, top_k + 1)]
    retrain += [Task(stage="retrain", baseline=name) for name in baselines]
    supernet = Task(stage="supernet", baselines=[*baselines] or None)
    return [[supernet], *search, retrain]


class Schedule:
    """Decides which tasks start now: those of one step at a time, each at most twice.

    A step begins when every task of the step before is over: done, or given up. Without a
    supernet nothing follows. Where a task of a later step has run already, at a resume, the steps
    before it count as over.

    A task is done when a result names it. Nothing else tells which task a trial did, because NNI's
    manager mixes up the parameters of trials that start at the same time. So which tasks failed is
    known when no trial runs any more.

    Parameters
    ----------
    steps
        The tasks, step after step; those of a step do not wait for each other.
    """

    attempts = 2
    """How often a task is tried."""

    def __init__(self, steps: Sequence[Sequence[Task]]) -> None:
        self._step_of = {task: number for number, step in enumerate(steps) for task in step}
        self._named = {str(task): task for task in self._step_of}
        self._steps = steps
        self._position = 0
        self._tries: Counter[Task] = Counter()
        self._taken: list[Task] = []  # since last no trial was running
        self._n_running = 0
        self._over: set[Task] = set()

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do, and nothing runs that might have to run again."""
        return self._position == len(self._steps)

    def take(self) -> dict[str, Any] | None:
        """Give the parameters of the next trial, or nothing if all has to wait."""
        for task in () if self.finished else self._steps[self._position]:
            if task not in self._taken and task not in self._over:
                self._start(task, self._tries[task] + 1)
                return task.parameters(self._tries[task])
        return None

    def resumed(self, parameters: Any) -> None:
        """Take note that a trial runs that was not taken here."""
        task = Task.parse(parameters)
        self._position = max(self._position, self._step_of[task])
        self._start(task, parameters.get("attempt", 1))

    def done(self, name: str) -> None:
        """Take note of a result that names its task."""
        if (task := self._named.get(name)) is None:
            raise ValueError(f"{name!r} is no task of this experiment's pipeline")
        self._position = max(self._position, self._step_of[task])
        self._over.add(task)
        self._advance()

    def ended(self) -> list[Task]:
        """Take note that a trial ended, whichever it was; gives the tasks that are given up."""
        self._n_running -= 1
        if self._n_running > 0:
            return []
        given_up = []
        for task in self._taken:
            if task in self._over:
                continue
            if self._tries[task] < self.attempts:
                _logger.warning("%s failed and is tried again", task)
            else:
                given_up.append(task)
        self._taken = []
        self._over.update(given_up)
        if Task(stage="supernet") in given_up:
            self._position = len(self._steps)
        self._advance()
        return given_up

    def _start(self, task: Task, attempt: int) -> None:
        self._tries[task] = attempt
        self._taken.append(task)
        self._n_running += 1

    def _advance(self) -> None:
        while not (self._n_running or self.finished):
            if not self._over.issuperset(self._steps[self._position]):
                return
            self._position += 1
