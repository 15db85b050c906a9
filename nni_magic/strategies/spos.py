"""SPOS, single path one-shot with uniform sampling [Guo2020]: the baseline of MAGIC.

Every step trains a child whose choices are uniform and independent. Adjacent children differ in
N (C - 1) / C of N blocks of C candidates on average.

Differences from NNI's ``RandomOneShot``, which is SPOS too: seeded, the same children on all
ranks, resumable, deterministic validation, and the best child exported instead of any.

[Guo2020] Guo et al., Single Path One-Shot Neural Architecture Search with Uniform Sampling.
"""

from __future__ import annotations

from .base import SupernetStrategy

__all__ = ["SPOS"]


class SPOS(SupernetStrategy):
    """Train a supernet by uniform path sampling.

    Parameters are those of :class:`nni_magic.strategies.base.SupernetStrategy`, whose sampler is
    the uniform one unless a method brings its own, with
    :class:`nni_magic.strategies.settings.SupernetSettings`.
    """
