"""The plan of a rank-correlation study: what is trained, read from a YAML file."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from nni.mutable import Sample
from nni.nas.nn.pytorch import ModelSpace

from experiments.studies.nasbench201 import NasBench201
from experiments.studies.settings import check_least, made
from nni_magic.children import samples
from nni_magic.programs.options import typed_settings
from nni_magic.samplers.base import UniformSampler
from nni_magic.strategies.aligned import AlignedStrategy
from nni_magic.strategies.base import SupernetStrategy
from nni_magic.strategies.registry import METHODS
from nni_magic.support.errors import naming
from nni_magic.tasks.domain import Domain
from nni_magic.tasks.evaluators import check_steps
from nni_magic.tasks.language.bert import Bert
from nni_magic.tasks.vision.proxyless import Proxyless

__all__ = [
    "DOMAINS", "EVALUATION_BATCH", "STRATEGIES", "VALIDATION_BATCHES", "Children", "Plan",
    "Supernets", "Training",
]  # fmt: skip

STRATEGIES = {name: method.load() for name, method in METHODS.items()}

DOMAINS: dict[str, type[Domain]] = {
    "bert": Bert,
    "proxyless": Proxyless,
    "nasbench201": NasBench201,
}

EVALUATION_BATCH = 64
"""Rows or images in a batch when children are evaluated."""
VALIDATION_BATCHES = 8
"""Batches of the training's size on which a supernet validates: the first held-out ones."""


@dataclass(frozen=True)
class Training:
    """What children and supernets share.

    Parameters
    ----------
    batch_size
        Sequences in a batch.
    learning_rate
        The peak; from there it falls to 0.
    warmup_steps
        Optimizer steps until the peak.
    weight_decay
        Not applied to biases and norms.
    """

    batch_size: int
    learning_rate: float
    warmup_steps: int
    weight_decay: float = 0.01


@dataclass(frozen=True)
class Children:
    """The ground truth: different children, drawn uniformly, each trained from scratch.

    Where a benchmark has published it, as of ``nasbench201``, nothing is trained.

    Parameters
    ----------
    n
        How many; settings may be chosen on those with even numbers, and reported on the others.
    steps
        Optimizer steps; 0 where the ground truth is published.
    seed
        Draws the children.
    repeated
        So many of them, spread evenly and over both halves, are trained with every one of ...
    seeds
        ... these; all others with the first.
    """

    n: int
    steps: int = 0
    seed: int = 0
    repeated: int = 0
    seeds: tuple[int, ...] = (0,)


@dataclass(frozen=True)
class Supernets:
    """Supernets of one method with one setting.

    Parameters
    ----------
    strategy
        One of :data:`STRATEGIES`.
    steps
        Optimizer steps, a multiple of the plan's ``epoch_steps``.
    seeds
        One supernet each.
    options
        Keyword arguments of the strategy.
    learning_rate
        In place of the plan's.
    decay
        Whether the learning rate falls to 0; otherwise it stays at its peak.
    values
        Name of a setting to its value here, such as ``{k: 2}``: the report shows tau against this
        setting, over all supernets that give it. It trains nothing by itself.
    """

    strategy: str
    steps: int
    seeds: tuple[int, ...]
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    learning_rate: float | None = None
    decay: bool = True
    values: Mapping[str, float] = dataclasses.field(default_factory=dict)

    def make_strategy(self, seed: int) -> SupernetStrategy:
        """Build the strategy that trains the supernet of a seed."""
        settings = {"seed": seed, "metric": "val_loss", "validation_batches": VALIDATION_BATCHES}
        return STRATEGIES[self.strategy](**{**settings, **self.options})


@dataclass(frozen=True)
class Plan:
    """All of a study; every number that it gives follows from these settings.

    Parameters
    ----------
    space
        Arguments of the search space, in place of those of its preset.
    training, children
        See there.
    supernets
        By the names that the report gives them.
    epoch_steps
        Optimizer steps of a supernet's epoch, after which it validates.
    score_rows
        Held-out rows, or images, that score children with inherited weights; supernets validate on
        some of them, too. The ground truth is measured on others.
    domain
        One of :data:`DOMAINS`.
    options
        Settings of the domain, such as ``corpus`` or ``dataset``.
    """

    space: Mapping[str, Any]
    training: Training
    children: Children
    supernets: Mapping[str, Supernets]
    epoch_steps: int
    score_rows: int = 1024
    domain: str = "bert"
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Plan:
        """Read a plan.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If a setting is missing, unknown, or not accepted.
        """
        raw = yaml.safe_load(path.read_text())
        if not isinstance(raw, Mapping):
            raise ValueError(f"plan {str(path)!r} holds no settings")
        settings = dict(raw)
        for name, kind in (("training", Training), ("children", Children)):
            settings[name] = made(kind, settings.get(name), name)
        settings["supernets"] = {
            name: made(Supernets, value, f"supernets: {name}")
            for name, value in dict(settings.get("supernets") or {}).items()
        }
        plan: Plan = made(cls, settings, "the plan")
        plan._check()
        return plan

    def _check(self) -> None:
        if self.domain not in DOMAINS:
            raise ValueError(f"domain is {self.domain!r}; accepted are {', '.join(DOMAINS)}")
        check_least("the plan", {"epoch_steps": 1}, self)
        self._check_training()
        self._check_children()
        self._check_supernets()
        least = VALIDATION_BATCHES * self.training.batch_size
        if self.score_rows < least or self.score_rows % EVALUATION_BATCH:
            raise ValueError(
                f"score_rows is {self.score_rows}; accepted are multiples of {EVALUATION_BATCH} "
                f"from {least}, the {VALIDATION_BATCHES} batches on which a supernet validates"
            )

    def _check_training(self) -> None:
        check_least("training", {"batch_size": 1, "weight_decay": 0}, self.training)
        _check_learning_rate("training", self.training.learning_rate)

    def _check_children(self) -> None:
        children = self.children
        check_least("children", {"n": 0, "steps": 0, "seed": 0}, children)
        _check_seeds("children", children.seeds)
        if not self.kind.trains_children:
            self._check_nothing_is_trained()
        elif children.n:
            if not children.steps:
                raise ValueError("children: steps is 0 or missing; trainings need at least 1")
            with naming("children"):
                check_steps(children.steps, self.training.warmup_steps)
        if not 0 <= children.repeated <= children.n:
            raise ValueError(
                f"children: repeated is {children.repeated}; accepted are 0 to {children.n}"
            )

    def _check_nothing_is_trained(self) -> None:
        for name in ("steps", "repeated", "seeds"):
            if (value := getattr(self.children, name)) != getattr(Children, name):
                raise ValueError(
                    f"children: {name} is {value}, but nothing is trained: the ground truth of "
                    f"{self.domain} is published; leave it out"
                )

    def _check_supernets(self) -> None:
        taken: dict[tuple[str, float], str] = {}
        for name, supernets in self.supernets.items():
            with naming(f"supernets: {name}"):
                self._check_steps(supernets)
                self._check_strategy(supernets)
            _check_seeds(f"supernets: {name}", supernets.seeds)
            if supernets.learning_rate is not None:
                _check_learning_rate(f"supernets: {name}", supernets.learning_rate)
            for setting, value in supernets.values.items():
                if (other := taken.setdefault((setting, value), name)) != name:
                    raise ValueError(
                        f"supernets: {name}: values: {setting} is {value}, as in {other}"
                    )

    def _check_steps(self, supernets: Supernets) -> None:
        if supernets.steps % self.epoch_steps:
            raise ValueError(
                f"steps is {supernets.steps}; accepted are multiples of epoch_steps, "
                f"{self.epoch_steps}"
            )
        check_steps(supernets.steps, self.training.warmup_steps)

    def _check_strategy(self, supernets: Supernets) -> None:
        if supernets.strategy not in STRATEGIES:
            raise ValueError(
                f"strategy is {supernets.strategy!r}; accepted are {', '.join(STRATEGIES)}"
            )
        try:
            strategy = supernets.make_strategy(seed=0)
        except TypeError as error:  # an option that it has not, or of a type that it cannot compare
            raise ValueError(f"options is {dict(supernets.options)}: {error}") from None
        epochs = supernets.steps // self.epoch_steps
        if isinstance(strategy, AlignedStrategy):
            warmup = strategy.alignment["warmup_epochs"]
            if warmup >= epochs:
                raise ValueError(
                    f"warmup_epochs is {warmup}; accepted are less than {epochs}, the epochs of "
                    f"{self.epoch_steps} steps"
                )

    @property
    def kind(self) -> type[Domain]:
        """The domain's class."""
        return DOMAINS[self.domain]

    def make_domain(self, cache: Path, data: Path | None = None) -> Domain:
        """Open the data and the search space.

        Parameters
        ----------
        cache
            Folder of prepared data.
        data
            File or folder of data to take in place of those of the options.

        Raises
        ------
        ValueError
            If an option is no setting of the domain, or not accepted.
        """
        settings = dataclasses.replace(
            typed_settings(self.kind.settings_type, self.options),
            cache=cache,
            batch_size=EVALUATION_BATCH,
            validation_batches=self.score_rows // EVALUATION_BATCH,
        )
        if data is not None:
            settings = settings.with_data(data)
        return self.kind(settings, self.space)

    def draw_children(self, space: ModelSpace) -> list[Sample]:
        """Draw the different children of the ground truth.

        Raises
        ------
        ValueError
            If the space has too few.
        """
        sampler = UniformSampler(space, seed=self.children.seed)
        drawn: dict[str, Sample] = {}
        for _ in range(100 * self.children.n):
            if len(drawn) < self.children.n:
                child = sampler.next()
                drawn.setdefault(samples.digest(child), child)
        if len(drawn) < self.children.n:
            raise ValueError(
                f"children: n is {self.children.n}, but the space has hardly more than {len(drawn)}"
            )
        return list(drawn.values())

    def trainings(self) -> Iterator[tuple[int, int]]:
        """Number of a child and seed, for every training of the ground truth.

        The first seeds come first, so that an unfinished study has all children early.
        """
        n, repeated = self.children.n, self.children.repeated
        yield from ((child, self.children.seeds[0]) for child in range(n))
        again = [i * n // repeated for i in range(repeated)]
        if not any(child % 2 for child in again):  # all of one half, in even strides
            again = [child + i % 2 for i, child in enumerate(again)]
        yield from ((child, seed) for seed in self.children.seeds[1:] for child in again)


def _check_seeds(name: str, seeds: tuple[int, ...]) -> None:
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(f"{name}: seeds is {list(seeds)}; at least one is needed, none twice")
    if min(seeds) < 0:
        raise ValueError(f"{name}: seeds is {list(seeds)}; none may be negative")


def _check_learning_rate(name: str, learning_rate: float) -> None:
    if not learning_rate > 0:
        raise ValueError(f"{name}: learning_rate is {learning_rate}; it must be greater than 0")
