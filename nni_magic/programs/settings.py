"""Settings of the programs: frozen, checked when they are made, read without torch or NNI.

They are made of concerns, one class each, whose settings have one flat name each on command
lines, in YAML files and as a tuner's parameters; see :mod:`nni_magic.programs.options`. Every
default stands here, in the settings of the task, or in those of the strategy.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from ..strategies.registry import METHODS
from ..strategies.settings import AlignmentSettings
from ..support.errors import check_choice, check_count
from ..support.kinds import check_kinds
from ..tasks.settings import TaskSettings
from ..tasks.teaching import Teacher
from .concerns import (
    MOST_CHILDREN,
    PipelineRetraining,
    Retraining,
    Search,
    SearchBy,
    Shrinking,
    Supernet,
)

__all__ = [
    "Cost", "DemoSettings", "ExampleSettings", "ExportSettings", "Form", "ParetoSettings",
    "PipelineSettings", "ScoreSettings", "SearchSpaceSettings", "TrainSettings",
]  # fmt: skip

Cost = Literal["params", "flops"]
Form = Literal["huggingface", "int8"]


def _check_training(task: TaskSettings, supernet: Supernet, retraining: Retraining) -> None:
    task.check_warmup(epochs=task.epochs)
    if retraining.retrain_epochs:
        task.check_warmup(retrain_epochs=retraining.retrain_epochs)
    if supernet.strategy is not None:  # or else the tuner gives it
        settings = supernet.settings_for(task)
        warmup = settings.warmup_epochs if isinstance(settings, AlignmentSettings) else None
        if warmup is not None and warmup >= task.epochs:
            raise ValueError(
                f"warmup_epochs is {warmup}; accepted are less than {task.epochs}, "
                "the epochs: nothing would be aligned"
            )


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """Settings of :mod:`nni_magic.programs.train`.

    Parameters
    ----------
    task, supernet, shrinking, search, retraining, teaching
        See there. A child that is trained from scratch has no teacher.
    output
        Folder of the results; by default the trial's own.
    export
        Export the best child beside the results: as it was trained from scratch, or else with the
        weights that it inherits.
    """

    task: TaskSettings
    supernet: Supernet
    shrinking: Shrinking
    search: Search
    retraining: Retraining
    teaching: Teacher = field(default_factory=Teacher)
    output: Path | None = None
    export: bool = False

    def __post_init__(self) -> None:
        check_kinds(self)
        _check_training(self.task, self.supernet, self.retraining)


@dataclass(frozen=True, kw_only=True)
class PipelineSettings:
    """Settings of :mod:`nni_magic.programs.pipeline`.

    Parameters
    ----------
    task, supernet, retraining, teaching
        See there. Only the supernet has a teacher, no child that is trained from scratch.
    population
        Children of a generation.
    search_by
        What proposes the children of a generation: ``evolution``, or a predictor of scores,
        ``boosting`` (trees) or a ``gaussian_process``.
    shared_folder
        Folder that all machines of the experiment share, under which the experiment has one of its
        own; by default NNI's, which only the trials of one machine share.
    """

    task: TaskSettings
    supernet: Supernet
    retraining: PipelineRetraining
    teaching: Teacher = field(default_factory=Teacher)
    population: int = Search.population
    search_by: SearchBy = Search.search_by
    shared_folder: Path | None = None

    def __post_init__(self) -> None:
        check_count("population", self.population, at_most=MOST_CHILDREN)
        check_choice("search_by", self.search_by, get_args(SearchBy))
        check_kinds(self)
        check_choice("strategy", self.supernet.strategy, METHODS)
        _check_training(self.task, self.supernet, self.retraining)


@dataclass(frozen=True, kw_only=True)
class ScoreSettings:
    """Settings of :mod:`nni_magic.programs.score`.

    Parameters
    ----------
    task
        As in the supernet's training.
    checkpoint
        The supernet's.
    """

    task: TaskSettings
    checkpoint: Path

    def __post_init__(self) -> None:
        check_kinds(self)


@dataclass(frozen=True, kw_only=True)
class ParetoSettings:
    """Settings of :mod:`nni_magic.programs.pareto`.

    Parameters
    ----------
    task
        As in the supernet's training.
    checkpoint
        The supernet's.
    output
        Folder of the front.
    cost
        What is traded off against the loss.
    generations
        Generations of the search.
    population
        Children of a generation.
    """

    task: TaskSettings
    checkpoint: Path
    output: Path
    cost: Cost = "params"
    generations: int = 20
    population: int = Search.population

    def __post_init__(self) -> None:
        check_choice("cost", self.cost, get_args(Cost))
        check_count("generations", self.generations)
        check_count("population", self.population, at_most=MOST_CHILDREN)
        check_kinds(self)


@dataclass(frozen=True, kw_only=True)
class SearchSpaceSettings:
    """Settings of :mod:`nni_magic.programs.search_space`.

    Parameters
    ----------
    checkpoint
        A supernet's.
    """

    checkpoint: Path

    def __post_init__(self) -> None:
        check_kinds(self)


@dataclass(frozen=True, kw_only=True)
class ExampleSettings:
    """Settings of :mod:`nni_magic.programs.example`.

    Parameters
    ----------
    name
        The example's; by default all are listed.
    folder
        Where its YAML file is written.
    """

    name: str | None = field(default=None, metadata={"positional": True})
    folder: Path = field(default=Path(), metadata={"positional": True})

    def __post_init__(self) -> None:
        check_kinds(self)


@dataclass(frozen=True, kw_only=True)
class ExportSettings:
    """Settings of :mod:`nni_magic.programs.export`.

    Parameters
    ----------
    child
        Folder of an exported child.
    to
        ``huggingface``: a folder for ``from_pretrained``; ``int8``: its ONNX file, quantized.
    output
        Where to write; by default inside the child's folder.
    """

    child: Path
    to: Form = "huggingface"
    output: Path | None = None

    def __post_init__(self) -> None:
        check_choice("to", self.to, get_args(Form))
        check_kinds(self)


@dataclass(frozen=True, kw_only=True)
class DemoSettings:
    """Settings of :mod:`nni_magic.programs.demo`.

    Parameters
    ----------
    folder
        Where the example is written and run, if no YAML file is given.
    example
        Name of the example.
    experiment
        A YAML file to run instead of an example.
    port
        Of the web page; another one is taken if it is not free.
    keep
        Leave the manager and its web page up at the end.
    """

    folder: Path = field(default=Path(), metadata={"positional": True})
    example: str = "bert_search"
    experiment: Path | None = None
    port: int = 8080
    keep: bool = False

    def __post_init__(self) -> None:
        check_count("port", self.port, at_least=0, at_most=65535)
        check_kinds(self)
