"""What a study trains: children from scratch, and supernets, with what both have in common."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nni.mutable import Sample
from nni.nas.nn.pytorch import ModelSpace

from experiments.studies.settings import made
from nni_magic.children.samples import digest
from nni_magic.samplers import UniformSampler
from nni_magic.strategies.registry import METHODS, method
from nni_magic.strategies.seeded import Seeded
from nni_magic.strategies.settings import MethodSettings
from nni_magic.support.errors import check_choice, check_count, check_number

__all__ = ["VALIDATION_BATCHES", "Children", "Search", "Supernets", "Training"]

VALIDATION_BATCHES = 8
"""Batches of the training's size on which a supernet validates: the first held-out ones."""


@dataclass(frozen=True)
class Training:
    """What children and supernets share.

    Parameters
    ----------
    batch_size
        Sequences, or images, in a batch.
    learning_rate
        Its peak, from which it falls to 0.
    warmup_steps
        Optimizer steps until the peak.
    weight_decay
        Not applied to biases and norms.
    """

    batch_size: int
    learning_rate: float
    warmup_steps: int
    weight_decay: float = 0.01

    def __post_init__(self) -> None:
        check_count("batch_size", self.batch_size)
        _check_learning_rate(self.learning_rate)
        check_count("warmup_steps", self.warmup_steps, at_least=0)
        check_number("weight_decay", self.weight_decay, at_least=0)


@dataclass(frozen=True)
class Children:
    """The ground truth: different children, drawn uniformly, each trained from scratch.

    Where a benchmark has published it, as of ``nasbench201``, nothing is trained; seeds are then
    the numbers of its trainings, from 0.

    Parameters
    ----------
    n
        How many. Settings may be chosen on those with even numbers, and reported on the others.
    steps
        Optimizer steps; 0 where the ground truth is published.
    seed
        Draws the children.
    repeated
        How many of them are trained with every one of the seeds; all others are trained with the
        first seed alone. They are spread evenly, over even and odd numbers.
    seeds
        Of the trainings.
    """

    n: int
    steps: int = 0
    seed: int = 0
    repeated: int = 0
    seeds: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        for name in ("n", "steps", "seed"):
            check_count(name, getattr(self, name), at_least=0)
        _check_seeds(self.seeds)
        check_number("repeated", self.repeated, at_least=0, at_most=self.n)

    def draw(self, space: ModelSpace) -> list[Sample]:
        """Draw different children of a space.

        Raises
        ------
        ValueError
            If the space has too few.
        """
        sampler = UniformSampler(space, seed=self.seed)
        drawn: dict[str, Sample] = {}
        for _ in range(100 * self.n):
            if len(drawn) < self.n:
                child = sampler.next()
                drawn.setdefault(digest(child), child)
        if len(drawn) < self.n:
            raise ValueError(
                f"children: n is {self.n}; accepted are up to {len(drawn)}, as the space has "
                "hardly more"
            )
        return list(drawn.values())

    @property
    def common_seeds(self) -> tuple[int, ...]:
        """Seeds with which every child is trained."""
        return self.seeds if self.repeated == self.n else self.seeds[:1]

    def trainings(self) -> Iterator[tuple[int, int]]:
        """Number of a child and seed, for every training of the ground truth.

        The first seeds come first, so that an unfinished study has all children early.
        """
        n, repeated = self.n, self.repeated
        yield from ((child, self.seeds[0]) for child in range(n))
        again = [i * n // repeated for i in range(repeated)]
        if not any(child % 2 for child in again):  # all of one half, in even strides
            again = [child + i % 2 for i, child in enumerate(again)]
        yield from ((child, seed) for seed in self.seeds[1:] for child in again)


@dataclass(frozen=True)
class Supernets:
    """Supernets of one method with one setting.

    Parameters
    ----------
    strategy
        Name of a method, see :mod:`nni_magic.strategies.registry`.
    steps
        Optimizer steps, a multiple of the plan's ``epoch_steps``.
    seeds
        One supernet each.
    options
        Settings of the method.
    learning_rate
        In place of the plan's.
    decay
        Whether the learning rate falls to 0; otherwise it stays at its peak.
    values
        Name of a setting to its value here, such as ``{k: 2}``. The report shows tau against this
        setting, over all supernets that give it. It changes no training.
    """

    strategy: str
    steps: int
    seeds: tuple[int, ...]
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    learning_rate: float | None = None
    decay: bool = True
    values: Mapping[str, int | float] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        check_count("steps", self.steps)
        _check_seeds(self.seeds)
        if self.learning_rate is not None:
            _check_learning_rate(self.learning_rate)
        of_children = [name for name, row in METHODS.items() if not row.differentiable]
        check_choice("strategy", self.strategy, of_children)  # children are to be ranked
        self.settings(self.seeds[0])

    def settings(self, seed: int) -> MethodSettings:
        """Settings of the strategy that trains the supernet of a seed.

        Raises
        ------
        ValueError
            If there is no such strategy, or it does not accept the options.
        """
        ours = {"seed": seed, "metric": "val_loss", "validation_batches": VALIDATION_BATCHES}
        return made(method(self.strategy).settings, {**ours, **self.options}, "options")

    def make_strategy(self, seed: int) -> Seeded:
        """Build the strategy that trains the supernet of a seed."""
        return method(self.strategy).load()(**vars(self.settings(seed)))


@dataclass(frozen=True)
class Comparison:
    """What supernets of different methods are compared by, besides how they rank.

    Parameters
    ----------
    pairs
        Random pairs of children whose gradients are compared.
    rows
        Training rows, or images, of which the gradients are.
    """

    pairs: int = 20
    rows: int = 128

    def __post_init__(self) -> None:
        for name in ("pairs", "rows"):
            check_count(name, getattr(self, name))


@dataclass(frozen=True)
class Search:
    """How every supernet is searched; what is found is trained from scratch.

    Parameters
    ----------
    generations, population
        Of evolution, see :class:`nni_magic.search.Evolution`.
    """

    generations: int = 20
    population: int = 50

    def __post_init__(self) -> None:
        for name in ("generations", "population"):
            check_count(name, getattr(self, name))


def _check_seeds(seeds: Sequence[int]) -> None:
    if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise ValueError(
            f"seeds is {list(seeds)}; accepted are whole numbers of at least 0, one or more, and "
            "none twice"
        )


def _check_learning_rate(learning_rate: float) -> None:
    if not (learning_rate > 0 and math.isfinite(learning_rate)):
        raise ValueError(
            f"learning_rate is {learning_rate!r}; accepted are finite numbers greater than 0"
        )
