"""Draw the rows of the training data by probabilities, and know which rows a batch has."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch.distributed as dist
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
)

from ..support.epoch_sampler import EpochSampler

__all__ = ["DrawnRows", "drawing_rows"]


class DrawnRows(DistributedSampler):
    """Rows that are drawn anew for every epoch; of several processes, each has its part.

    It is a ``DistributedSampler`` so that Lightning takes it for one that knows of the processes.

    Parameters
    ----------
    dataset
        With a length.
    draw
        Draws as many rows as it is asked for: an epoch, of all processes together.

    Attributes
    ----------
    order : numpy.ndarray
        Rows of the present epoch, of this process.
    """

    def __init__(self, dataset: Any, draw: Callable[[int], np.ndarray]) -> None:
        # Torch's own constructor asks for the number of processes, which are not there yet.
        self.dataset: Any = dataset
        self.epoch = 0
        self.order = np.empty(0, dtype=int)
        self._draw = draw

    def __len__(self) -> int:
        return math.ceil(len(self.dataset) / _processes()[0])

    def __iter__(self) -> Iterator[int]:
        n_processes, rank = _processes()
        self.order = self._draw(len(self) * n_processes)[rank::n_processes]
        return iter(self.order.tolist())


def drawing_rows(loaders: Any, draw: Callable[[int], np.ndarray]) -> Any:
    """Give a copy of a training loader that reads the rows that are drawn.

    Parameters
    ----------
    loaders
        One ``DataLoader`` whose dataset has a length and is read in any order.
    draw
        See :class:`DrawnRows`, which is the copy's ``sampler``.

    Raises
    ------
    ValueError
        Naming what is no such loader.
    """
    _check(loaders)
    rows = DrawnRows(loaders.dataset, draw)
    twin = copy.copy(loaders)
    batches = BatchSampler(rows, loaders.batch_size, loaders.drop_last)
    vars(twin).update(sampler=rows, batch_sampler=batches)  # a loader refuses others once made
    return twin


def _check(loader: Any) -> None:
    accepted = "accepted is one DataLoader that draws from all rows of a dataset with a length"
    if not isinstance(loader, DataLoader):
        raise ValueError(f"train_dataloaders is a {type(loader).__name__}; {accepted}")
    if isinstance(loader.dataset, IterableDataset):
        raise ValueError(
            f"train_dataloaders reads a {type(loader.dataset).__name__}, whose rows have no "
            f"numbers; {accepted}"
        )
    for name, kinds in (
        ("batch_sampler", (BatchSampler,)),
        ("sampler", (EpochSampler, RandomSampler, SequentialSampler)),
    ):
        own = getattr(loader, name)
        if type(own) not in kinds:
            raise ValueError(
                f"{name} of train_dataloaders is a {type(own).__name__}, which draws rows in a way "
                f"of its own; {accepted}"
            )
    dataset: Any = loader.dataset
    if (n := len(loader.sampler)) != len(dataset):  # type: ignore[arg-type]
        raise ValueError(
            f"sampler of train_dataloaders draws {n} rows of {len(dataset)}; {accepted}"
        )


def _processes() -> tuple[int, int]:
    """Number of processes that train, and which one this is."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_world_size(), dist.get_rank()
    return 1, 0
