"""What the programs' settings are made of: the strategy, shrinking, a search, a retraining.

The task's are in :mod:`nni_magic.tasks.settings`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from ..strategies.registry import METHODS, method
from ..strategies.settings import MethodSettings
from ..support.errors import check_choice, check_count, check_number
from ..support.kinds import check_kinds
from ..tasks.settings import TaskSettings

__all__ = [
    "MOST_CHILDREN", "PipelineRetraining", "Retraining", "Search", "SearchBy", "Shrinking",
    "Supernet", "check_searched",
]  # fmt: skip

MOST_CHILDREN = 10**6
"""Children that are drawn at once at most: where a space has fewer, they are sought for long."""


@dataclass(frozen=True, kw_only=True)
class Supernet:
    """How the supernet is trained: the strategy, and the settings that are given for strategies.

    Parameters
    ----------
    strategy
        The method; it must be given, here or by the tuner.
    given
        Settings of strategies by name. Those that only other strategies have are ignored, so that
        one tuner can try several strategies with the settings of all.
    """

    strategy: str | None = None
    given: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.strategy is not None:
            check_choice("strategy", self.strategy, METHODS)
        check_kinds(self)

    @property
    def ignored(self) -> list[str]:
        """Names of given settings that the strategy does not have."""
        return sorted(self.given.keys() - {*method(str(self.strategy)).options})

    def settings_for(self, task: TaskSettings) -> MethodSettings:
        """Settings of the strategy; those that the task has too are taken from the task.

        Raises
        ------
        ValueError
            If there is no such strategy, or a setting is not accepted.
        """
        check_choice("strategy", self.strategy, METHODS)
        row = method(str(self.strategy))
        own = {name: value for name, value in self.given.items() if name in row.options}
        shared = {name: getattr(task, name) for name in row.options if hasattr(task, name)}
        settings = row.settings(**{"metric": "val_loss", "mode": "min", **own, **shared})
        # By which the programs search and report.
        check_choice("metric", settings.metric, ("val_loss",))
        check_choice("mode", settings.mode, ("min",))
        return settings


@dataclass(frozen=True, kw_only=True)
class Shrinking:
    """Settings of progressive shrinking.

    Parameters
    ----------
    n_drop
        Candidates deleted after an epoch; with 0 the space stays whole.
    evaluations
        Children scored after an epoch when shrinking.
    """

    n_drop: int = 0
    evaluations: int = 1000

    def __post_init__(self) -> None:
        check_count("n_drop", self.n_drop, at_least=0)
        check_kinds(self)
        check_count("evaluations", self.evaluations, at_most=MOST_CHILDREN)


SearchBy = Literal["evolution", "boosting", "gaussian_process"]
"""Engines of a search."""


@dataclass(frozen=True, kw_only=True)
class Search:
    """Settings of the search in the trial that trains the supernet.

    Parameters
    ----------
    search_children
        Children that are scored in all.
    population
        Children of a generation.
    search_by
        What proposes the children of a generation: ``evolution``, or a predictor of scores,
        ``boosting`` (trees) or a ``gaussian_process``.
    """

    search_children: int = 1000
    population: int = 50
    search_by: SearchBy = "evolution"

    def __post_init__(self) -> None:
        check_choice("search_by", self.search_by, get_args(SearchBy))
        check_count("search_children", self.search_children)
        check_count("population", self.population, at_most=MOST_CHILDREN)
        check_kinds(self)
        if self.population > self.search_children:
            raise ValueError(
                f"population is {self.population}; accepted are 1 to search_children, "
                f"which is {self.search_children}"
            )


@dataclass(frozen=True, kw_only=True)
class Retraining:
    """Settings of the training of a found child from scratch.

    Parameters
    ----------
    retrain_epochs
        Epochs of the training; with 0 no child is trained.
    retrain_learning_rate
        The peak of its learning rate; by default that of the supernet.
    """

    retrain_epochs: int = 0
    retrain_learning_rate: float | None = None

    def __post_init__(self) -> None:
        check_count("retrain_epochs", self.retrain_epochs, at_least=0)
        check_kinds(self)
        if self.retrain_learning_rate is not None:
            check_number("retrain_learning_rate", self.retrain_learning_rate, above=0)


@dataclass(frozen=True, kw_only=True)
class PipelineRetraining(Retraining):
    """Settings of the training of found children where they are always trained.

    Parameters
    ----------
    retrain_epochs
        Epochs of a found child and of the baseline.
    """

    retrain_epochs: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("retrain_epochs", self.retrain_epochs)


def check_searched(strategy: str) -> None:
    """Make sure that a method leaves the choice of children to a search.

    Raises
    ------
    ValueError
        If it finds one child by itself.
    """
    if method(strategy).differentiable:
        others = (name for name, row in METHODS.items() if not row.differentiable)
        raise ValueError(
            f"strategy is {strategy!r}, which finds one child by itself; accepted where children "
            f"are searched are {', '.join(others)}. To train the child that it finds, see "
            "nni-magic train --retrain-epochs"
        )
