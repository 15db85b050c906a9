"""The plan of a study: what is trained on which space and data, read from a YAML file."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from experiments.studies.nasbench201 import NasBench201
from experiments.studies.nasbench_macro import NasBenchMacro
from experiments.studies.settings import made
from experiments.studies.trainings import (
    VALIDATION_BATCHES,
    Children,
    Comparison,
    Search,
    Supernets,
    Training,
)
from nni_magic.programs.options import typed_settings
from nni_magic.strategies.settings import AlignmentSettings
from nni_magic.support.errors import check_choice, check_count, naming
from nni_magic.support.yaml_files import read_settings
from nni_magic.tasks.domain import Domain
from nni_magic.tasks.language.bert import Bert
from nni_magic.tasks.vision.proxyless import Proxyless

__all__ = ["DOMAINS", "EVALUATION_BATCH", "Plan"]

DOMAINS: dict[str, type[Domain]] = {
    "bert": Bert,
    "proxyless": Proxyless,
    "nasbench201": NasBench201,
    "nasbench_macro": NasBenchMacro,
}

EVALUATION_BATCH = 64
"""Rows or images in a batch when children are evaluated."""


@dataclass(frozen=True)
class Plan:
    """All of a study; every number that it gives follows from these settings.

    Parameters
    ----------
    space
        Arguments of the search space, in place of those of its preset.
    training, children
        See there.
    epoch_steps
        Optimizer steps of a supernet's epoch, after which it validates.
    supernets
        By the names that the report gives them.
    score_rows
        Held-out rows, or images, that score children with inherited weights. Supernets validate on
        some of them, too; the ground truth is measured on others.
    domain
        One of :data:`DOMAINS`.
    options
        Settings of the domain, such as ``corpus`` or ``dataset``.
    comparison
        Of a plan that compares methods: what is measured of every supernet once it is trained.
    search
        How every supernet is searched then; by default it is not.
    """

    space: Mapping[str, Any]
    training: Training
    children: Children
    supernets: Mapping[str, Supernets]
    epoch_steps: int
    score_rows: int = 1024
    domain: str = "bert"
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    comparison: Comparison | None = None
    search: Search | None = None

    def __post_init__(self) -> None:
        check_choice("domain", self.domain, DOMAINS)
        check_count("epoch_steps", self.epoch_steps)
        self._check_score_rows()
        with naming("children"):
            self._check_children()
        for name, supernets in self.supernets.items():
            with naming(f"supernets: {name}"):
                self._check_supernets(supernets)
        if self.comparison is not None and not self.supernets:
            raise ValueError("supernets is empty; accepted with comparison is at least one")
        if self.search is not None and self.comparison is None:
            raise ValueError("search is given; accepted is it with comparison, which reports it")
        self._check_values()

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
        settings = read_settings("plan", path)
        with naming(f"plan {str(path)!r}"):
            supernets = settings.pop("supernets", None)
            if not (supernets is None or isinstance(supernets, dict)):
                raise ValueError(f"supernets is {supernets!r}; accepted are settings by names")
            for name in supernets or {}:
                if not isinstance(name, str) or not re.fullmatch(r"\w[\w.-]*", name):
                    raise ValueError(
                        f"a name of supernets is {name!r}; accepted are letters, digits, '_', '-' "
                        "and '.', as files are named by it"
                    )
            sections: dict[str, Any] = {
                name: made(kind, settings.pop(name), name)
                for name, kind in (("comparison", Comparison), ("search", Search))
                if settings.get(name) is not None
            }
            sections |= {
                "training": made(Training, settings.pop("training", None), "training"),
                "children": made(Children, settings.pop("children", None), "children"),
                "supernets": {
                    name: made(Supernets, one, f"supernets: {name}")
                    for name, one in (supernets or {}).items()
                },
            }
            return made(cls, settings, "settings", **sections)

    def _check_score_rows(self) -> None:
        least = VALIDATION_BATCHES * self.training.batch_size
        if self.score_rows < least or self.score_rows % EVALUATION_BATCH:
            raise ValueError(
                f"score_rows is {self.score_rows}; accepted are multiples of {EVALUATION_BATCH} "
                f"from {least}, the {VALIDATION_BATCHES} batches on which a supernet validates"
            )

    def _check_children(self) -> None:
        if self.kind.trains_children:
            if self.children.n:
                check_count("steps", self.children.steps)
                self._check_warmup_steps(self.children.steps)
            return
        if self.kind.n_published > 1:
            self._check_published_seeds()
        fixed = ("steps", "repeated", "seeds") if self.kind.n_published == 1 else ("steps",)
        for name in fixed:
            value, default = getattr(self.children, name), getattr(Children, name)
            if value != default:
                raise ValueError(
                    f"{name} is {value!r}; accepted is {default!r}, as nothing is trained: the "
                    f"ground truth of {self.domain} is published"
                )

    def _check_published_seeds(self) -> None:
        seeds, n = self.children.seeds, self.kind.n_published
        if max(seeds) >= n:
            raise ValueError(
                f"seeds is {list(seeds)}; accepted are 0 to {n - 1}, as the ground truth of "
                f"{self.domain} is published, with {n} trainings of a child"
            )

    def _check_supernets(self, supernets: Supernets) -> None:
        steps = supernets.steps
        if steps % self.epoch_steps:
            raise ValueError(
                f"steps is {steps}; accepted are multiples of epoch_steps, {self.epoch_steps}"
            )
        self._check_warmup_steps(steps)
        settings = supernets.settings(supernets.seeds[0])
        epochs = steps // self.epoch_steps
        warmup = settings.warmup_epochs if isinstance(settings, AlignmentSettings) else None
        if warmup is not None and warmup >= epochs:
            raise ValueError(
                f"warmup_epochs is {warmup}; accepted are less than {epochs}, the "
                f"epochs of {self.epoch_steps} steps"
            )

    def _check_warmup_steps(self, steps: int) -> None:
        if (warmup := self.training.warmup_steps) > steps:
            raise ValueError(f"steps is {steps}; accepted are at least {warmup}, the warmup_steps")

    def _check_values(self) -> None:
        """Make sure that no two settings of supernets are at the same place in the report."""
        taken: dict[tuple[str, float], str] = {}
        for name, supernets in self.supernets.items():
            for one in supernets.values.items():
                if (other := taken.setdefault(one, name)) != name:
                    raise ValueError(
                        f"supernets: {name}: values: {one[0]} is {one[1]!r}; accepted are others "
                        f"than those of {other}"
                    )

    def trainings(self) -> Iterator[tuple[str, int]]:
        """Name and seed of every supernet.

        The first seeds come first, so that an unfinished study has as many of each name.
        """
        by_name = [[(name, seed) for seed in one.seeds] for name, one in self.supernets.items()]
        yield from (one for some in zip_longest(*by_name) for one in some if one is not None)

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
