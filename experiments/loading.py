"""A shuffling sampler and a data loader whose place in an epoch survives a checkpoint."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import nni
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

__all__ = ["EpochSampler", "ResumableLoader"]


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
        if n_items < 1:
            raise ValueError(f"n_items must be at least 1, got {n_items}")
        if seed < 0:
            raise ValueError(f"seed must not be negative, got {seed}")
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
        """Number of indices in a pass."""
        return self.n_items


@nni.trace
class ResumableLoader(DataLoader):
    """A :class:`torch.utils.data.DataLoader` that continues in the middle of an epoch.

    Differences from its base, which takes the same arguments, by name:

    - Lightning saves its state, ``{"epoch", "batches"}``, and after loading that, the first pass
      over the same epoch skips the batches already seen (they are read and thrown away).
    - It never draws from torch's global generator, as its base does at the start of every pass:
      the draws of a resumed run stay those of an uninterrupted one.
    - The pass begins at the first batch asked for, not at ``iter()``: Lightning calls that
      before it tells the sampler which epoch it is, too early for worker processes.
    """

    def __init__(self, dataset: Dataset, **kwargs: Any) -> None:
        """See the class."""
        if kwargs.get("generator") is None:
            kwargs["generator"] = torch.Generator()
        super().__init__(dataset, **kwargs)
        self._position = {"epoch": 0, "batches": 0}
        self._resume_from: dict[str, int] | None = None

    def __iter__(self) -> Iterator[Any]:
        """Yield the batches of one pass."""
        epoch = getattr(self.sampler, "epoch", 0)
        resume, self._resume_from = self._resume_from, None
        skip = resume["batches"] if resume and resume["epoch"] == epoch else 0
        self._position = {"epoch": epoch, "batches": skip}
        for batch in islice(super().__iter__(), skip, None):
            self._position["batches"] += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """Epoch and number of batches handed out in it."""
        return dict(self._position)

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continue from ``state`` at the next pass, if that is over the same epoch."""
        self._resume_from = dict(state)
