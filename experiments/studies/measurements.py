"""Measure supernets of a study, by several processes at once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.studies.claims import claimed
from experiments.studies.study import Study
from nni_magic.support.files import write_json
from nni_magic.support.made_with import read_result

__all__ = ["Found", "Measurements", "Record"]

Record = dict[str, Any]
"""What the file of a supernet holds."""

Found = dict[str, dict[int, Record]]
"""Name to seed to what is measured of a supernet."""


class Measurements(ABC):
    """What is measured of some supernets, with a file for each.

    Parameters
    ----------
    study
        Has the supernets.
    folder
        Of the files, ``<name>_seed<seed>.json``.
    seeds
        Names of the supernets, each with the seeds to measure.
    """

    def __init__(self, study: Study, folder: Path, seeds: Mapping[str, Sequence[int]]) -> None:
        self.study = study
        self.folder = folder
        self.seeds = seeds

    @abstractmethod
    def made_with(self, name: str) -> dict[str, Any]:
        """What a measurement depends on besides the seed; see :mod:`.records`."""

    @abstractmethod
    def measure(self, name: str, seed: int) -> None:
        """Measure what is missing of a supernet, and :meth:`save` it."""

    def is_whole(self, record: Record) -> bool:
        """Whether a supernet is measured in full."""
        return True

    def file(self, name: str, seed: int) -> Path:
        """Where the measurement of a supernet lies."""
        return self.folder / f"{name}_seed{seed}.json"

    def read(self, name: str, seed: int) -> Record | None:
        """What is measured of a supernet, ``None`` if nothing is.

        Raises
        ------
        ValueError
            If it was measured with other settings.
        """
        record: Record | None = read_result(self.file(name, seed), self.made_with(name))
        return record

    def save(self, name: str, seed: int, measured: Mapping[str, Any]) -> None:
        """Write what is measured of a supernet, with what it depends on."""
        write_json(self.file(name, seed), {"made_with": self.made_with(name), **measured})

    def supernets(self) -> Iterator[tuple[str, int]]:
        """Name and seed of every supernet to measure."""
        for name, seeds in self.seeds.items():
            for seed in seeds:
                yield name, seed

    def missing(self) -> Iterator[tuple[str, int]]:
        """Supernets that are not measured in full yet."""
        for name, seed in self.supernets():
            record = self.read(name, seed)
            if record is None or not self.is_whole(record):
                yield name, seed

    def found(self) -> Found:
        """Name to seed to measurement, of the supernets that are measured in full."""
        missing = set(self.missing())
        records: Found = {}
        for name, seed in self.supernets():
            if (name, seed) not in missing and (record := self.read(name, seed)) is not None:
                records.setdefault(name, {})[seed] = record
        return records

    def work(self) -> None:
        """Measure what is missing and claimed by no other process.

        Raises
        ------
        ValueError
            If something was measured with other settings.
        """
        for name, seed in self.missing():
            with claimed(self.file(name, seed)) as mine:
                if mine:
                    self.measure(name, seed)
