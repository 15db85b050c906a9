"""SPOS [Guo2020]: every label uniform, independent of the last sample.

[Guo2020] Guo et al., Single Path One-Shot Neural Architecture Search with Uniform Sampling.
"""

from __future__ import annotations

from nni.mutable import Sample

from .base import Sampler

__all__ = ["UniformSampler"]


class UniformSampler(Sampler):
    """SPOS: every label uniform over its candidates and independent of all else [Guo2020].

    With N labels of C candidates, adjacent samples differ in N (C - 1) / C labels on average.
    """

    def propose(self) -> Sample:
        """Draw every label anew."""
        return self.draw(self.candidates)
