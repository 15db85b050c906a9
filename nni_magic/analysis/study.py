"""What an interference study found, by shared layer and number of differences [Xu2022, Fig. 2].

[Xu2022] Xu et al., Analyzing and Mitigating Interference in Neural Architecture Search.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["InterferenceStudy"]


@dataclass(frozen=True)
class InterferenceStudy:
    """Cosines of gradients on shared candidates, by shared layer and number of differences.

    Parameters
    ----------
    labels
        Choice blocks in order of execution; layer j is the j-th.
    candidates
        Their candidates. Row and column i of a matrix belong to the child with candidate i in
        layer j + 1.
    seed, repetitions
        Seed of the study, and how often each setting was repeated.
    matrices
        Shared layer and number of differences, ``(j, m)``, to cosines, ``(repetitions, C, C)`` in
        float64.
    """

    labels: tuple[str, ...]
    candidates: tuple[Any, ...]
    seed: int
    repetitions: int
    matrices: Mapping[tuple[int, int], np.ndarray]

    def mean_matrix(self, shared_layer: int, differences: int) -> np.ndarray:
        """Mean of the cosines over repetitions, ``(C, C)`` [Xu2022, Fig. 2a and b]."""
        return self.matrices[shared_layer, differences].mean(0)

    def mean_cosine(self, shared_layer: int, differences: int) -> float:
        """Mean cosine over all pairs of different children and repetitions [Xu2022, Fig. 2c]."""
        return float(self._off_diagonal(shared_layer, differences).mean())

    def standard_error(self, shared_layer: int, differences: int) -> float:
        """Standard error of the mean cosine over repetitions."""
        means = self._off_diagonal(shared_layer, differences)
        return float(means.std(ddof=1) / math.sqrt(len(means)))

    def _off_diagonal(self, shared_layer: int, differences: int) -> np.ndarray:
        """Mean cosine over pairs of different children, ``(repetitions,)``."""
        matrices = self.matrices[shared_layer, differences]
        return matrices[:, ~np.eye(matrices.shape[-1], dtype=bool)].mean(1)

    def to_json(self) -> dict[str, Any]:
        """The study in plain types, with its means and standard errors for reading."""
        return {
            "labels": list(self.labels),
            "candidates": list(self.candidates),
            "seed": self.seed,
            "repetitions": self.repetitions,
            "settings": [
                {
                    "shared_layer": j,
                    "differences": m,
                    "mean_cosine": self.mean_cosine(j, m),
                    "standard_error": self.standard_error(j, m),
                    "matrices": matrices.tolist(),
                }
                for (j, m), matrices in self.matrices.items()
            ],
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> InterferenceStudy:
        """Make the study anew from what :meth:`to_json` gave."""
        return cls(
            tuple(record["labels"]),
            tuple(record["candidates"]),
            record["seed"],
            record["repetitions"],
            {
                (setting["shared_layer"], setting["differences"]): np.array(setting["matrices"])
                for setting in record["settings"]
            },
        )
