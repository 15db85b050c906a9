"""What is measured with the weights of trained supernets."""

from __future__ import annotations

from collections.abc import Iterator

from experiments.studies.measurements import Measurements
from experiments.studies.study import Study

__all__ = ["OfWeights"]


class OfWeights(Measurements):
    """Measures every supernet of a plan whose weights are there, with a file for each.

    Records that came without weights, as those of another machine do, stay unmeasured.

    Parameters
    ----------
    study
        Trains the supernets.
    folder
        Name of the folder of the files.
    """

    def __init__(self, study: Study, folder: str) -> None:
        planned = study.plan.supernets
        seeds = {name: one.seeds for name, one in planned.items()}
        super().__init__(study, study.output / folder, seeds)

    def supernets(self) -> Iterator[tuple[str, int]]:
        yield from self.study.plan.trainings()

    def missing(self) -> Iterator[tuple[str, int]]:
        """Supernets that are trained, have weights, and are not measured yet."""
        for name, seed in super().missing():
            if self.study.checkpoint(name, seed).exists() and self.study.read_supernet(name, seed):
                yield name, seed
