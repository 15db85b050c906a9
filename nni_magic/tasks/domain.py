"""What text and images are to the programs that train: a space, data and evaluators."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol

import nni_bootstrap  # noqa: F401
import pytorch_lightning as pl
import torch
from nni.mutable import Sample
from nni.nas.evaluator.pytorch import Lightning
from nni.nas.nn.pytorch import ModelSpace
from pytorch_lightning.utilities import rank_zero_only
from torch import Tensor
from torch.utils.data import DataLoader

from .. import __version__
from ..search import ChildEvaluator
from .settings import TaskSettings
from .teaching import Lessons, Teacher


class GroundTruth(NamedTuple):
    """A measure of how good a child is, taken without a supernet; lower is better.

    Parameters
    ----------
    key
        Its name in a child's result.
    name, unit
        For tables and figures.
    """

    key: str
    name: str
    unit: str


class Preprocessing(Protocol):
    """Makes inputs, and writes itself beside a child; see :mod:`nni_magic.tasks.exported`."""

    def write(self, folder: Path) -> None: ...


class Domain(ABC):
    """A search space with its data and its training: everything in which text and images differ.

    Parameters
    ----------
    settings
        Settings of the data, the training and the space.
    space
        Arguments of the search space, in place of those of its preset.
    """

    settings_type: ClassVar[type[TaskSettings]]
    """Class of its settings."""

    loss: ClassVar[str] = "val_loss"
    """Name under which the evaluator logs the loss in validation, by which children are scored."""

    accuracy: str
    """Name under which the evaluator logs the accuracy in validation."""

    packages: tuple[str, ...] = ("nni", "numpy", "pytorch-lightning", "torch")
    """Packages on whose versions results depend."""

    ground_truth = GroundTruth("val_loss", "validation loss, trained from scratch", "nats")
    """With what a study compares the scores of children."""

    trains_children: bool = True
    """Whether a study trains children for the ground truth; else :meth:`published` gives it."""

    n_published: ClassVar[int] = 1
    """Trainings of every child that :meth:`published` knows; their seeds are 0, 1 and so on."""

    row: ClassVar[str] = "row"
    """What reports call one row of the data."""

    skips: ClassVar[tuple[str, ...]] = ()
    """Candidates that leave a block out: the number of the other blocks is a child's depth."""

    baseline_name: ClassVar[str]
    """Name of the child that :meth:`baseline` gives."""

    def __init__(self, settings: Any, space: Mapping[str, Any] | None = None) -> None:
        self.settings = settings
        self.space = dict(space or {})

    @cached_property
    def data(self) -> Any:
        """The data. Their first use loads them, seeds this process and sets torch's threads."""
        if rank_zero_only.rank == 0:  # type: ignore[attr-defined]
            logging.getLogger("nni_magic").setLevel(logging.INFO)
        pl.seed_everything(self.settings.seed, verbose=False)
        if self.settings.threads:
            torch.set_num_threads(self.settings.threads)
        return self.load()

    @abstractmethod
    def load(self) -> Any:
        """Load the data."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Describe the data, for the record of a result."""

    def data_settings(self) -> dict[str, Any]:
        """The part of the description on which results depend."""
        # Which files cannot be read is found out as they are read, sooner in one run than another.
        return {name: one for name, one in self.describe().items() if name != "unreadable"}

    @abstractmethod
    def make_space(self) -> ModelSpace:
        """Build the space, or a child of it where NNI's ``model_context`` is set."""

    def seeded_space(self, seed: int | None = None) -> ModelSpace:
        """Seed this process, and build the space or a child of it, to train it next.

        Its weights, and what training draws, are those of the seed, whatever was built before.

        Parameters
        ----------
        seed
            By default that of the settings.
        """
        _ = self.data  # whose loading seeds the process, too
        pl.seed_everything(self.settings.seed if seed is None else seed, verbose=False)
        return self.make_space()

    @abstractmethod
    def example(self) -> Tensor:
        """Two rows of input."""

    @abstractmethod
    def preprocessing(self) -> Preprocessing:
        """How inputs are made of texts or images, for who uses a child."""

    def export_options(self) -> dict[str, Any]:
        """What :func:`nni_magic.export.export_child` needs to know of the data."""
        return {"args": (self.example(),), "beside": self.preprocessing().write}

    @abstractmethod
    def evaluator(self, **settings: Any) -> Lightning:
        """Make an evaluator that trains.

        Parameters
        ----------
        **settings
            ``total_steps``, ``batch_size``, ``seed``, ``num_workers``, ``learning_rate``,
            ``warmup_steps``, ``weight_decay``, ``trainer_kwargs``, and what the evaluator of this
            domain takes in addition.
        """

    @abstractmethod
    def search_evaluator(self, **settings: Any) -> Lightning:
        """Make an evaluator for a search.

        Parameters
        ----------
        **settings
            ``batch_size``, ``num_workers`` and ``trainer_kwargs``.
        """

    @abstractmethod
    def test_data(self) -> DataLoader:
        """Data that no search and no training has seen.

        Raises
        ------
        ValueError
            If there are none.
        """

    def published(self, sample: Sample, training: int = 0) -> dict[str, Any]:
        """The result that a benchmark has published for a training of a child.

        Raises
        ------
        NotImplementedError
            If this domain has no benchmark, so that its children must be trained.
        """
        raise NotImplementedError(f"children of {type(self).__name__} are to be trained")

    def lessons(self, teacher: Teacher, space: ModelSpace) -> Lessons:
        """What a teacher adds to the training of a supernet.

        Raises
        ------
        ValueError
            If children of this domain cannot have a teacher.
        """
        raise ValueError(
            f"teacher is {str(teacher.teacher)!r}; accepted is none, as children of "
            f"{type(self).__name__} cannot imitate one"
        )

    @property
    def filter(self) -> Any:
        """Constraint on the children that are trained and searched."""
        return None

    def baseline(self) -> Sample:
        """A child made by hand, which is trained beside those that a search finds.

        Raises
        ------
        NotImplementedError
            If this domain has no baseline.
        """
        raise NotImplementedError(f"{type(self).__name__} has no baseline")

    @property
    def filter_beside_baseline(self) -> Any:
        """Constraint on the children that are compared with the baseline."""
        return self.filter

    def costs(self, sample: Sample) -> dict[str, float]:
        """Costs of a child by name, counted as the constraint counts them."""
        return {}

    def child_evaluator(self, supernet: ModelSpace) -> ChildEvaluator:
        """Make an evaluator that scores children with the weights that they inherit."""
        settings = self.settings
        evaluator = self.search_evaluator(
            batch_size=settings.batch_size, num_workers=settings.workers,
            trainer_kwargs={"devices": 1, "precision": settings.precision},
        )  # fmt: skip
        return ChildEvaluator(
            supernet, evaluator, n_batches=settings.validation_batches,
            calibration_batches=settings.calibration_batches, processes=settings.processes,
        )  # fmt: skip

    def versions(self) -> dict[str, str]:
        """Versions of the packages on which results depend, and of nni-magic."""
        return {"nni-magic": __version__, **{name: version(name) for name in self.packages}}
