"""A shuffling sampler whose order depends on the seed and the epoch alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

from ..support.errors import check_count

__all__ = ["EpochSampler"]


class EpochSampler(Sampler[int]):
    """Shuffle with a permutation that depends on the seed and the epoch, and on nothing else.

    Lightning calls :meth:`set_epoch` before every epoch. Under DDP it wraps the sampler in its
    distributed one, which shuffles by epoch too.

    Parameters
    ----------
    n_items
        Size of the data set.
    seed
        Any non-negative integer.
    """

    def __init__(self, n_items: int, seed: int = 0) -> None:
        """See the class."""
        check_count("n_items", n_items)
        check_count("seed", seed, at_least=0)
        self.n_items = n_items
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the permutation of the next pass."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        """Yield every index once."""
        # A pair, not a sum: with seed + epoch, runs of neighbouring seeds would share orders.
        generator = np.random.default_rng((self.seed, self.epoch))
        return iter(generator.permutation(self.n_items).tolist())

    def __len__(self) -> int:
        """Count the indices of a pass."""
        return self.n_items
