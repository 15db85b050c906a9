"""Read loaders as Lightning reads them: one, several one after another, or several at once.

Whatever Lightning accepts as loaders becomes its own ``CombinedLoader``: a single loader, a list, a
dict or any nesting of them, or a ``CombinedLoader`` in any mode.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Generator
from itertools import islice
from typing import Any, Literal, NamedTuple

import pytorch_lightning as pl
from lightning_fabric.utilities.data import sized_len
from pytorch_lightning.utilities import CombinedLoader

from .resume import read_anew

__all__ = [
    "TRAINING", "VALIDATION", "LateLoader", "LoadedBatch", "batches_anew", "combined",
    "first_batches", "late", "limits", "loaders_of_validation",
]  # fmt: skip

TRAINING: Literal["max_size_cycle"] = "max_size_cycle"
"""How Lightning reads several training loaders: a step is given a batch of each."""
VALIDATION: Literal["sequential"] = "sequential"
"""How Lightning reads several validation loaders: one after another."""


class LoadedBatch(NamedTuple):
    """A batch with its place, as a step is given them.

    Parameters
    ----------
    batch
        What a step is given.
    batch_idx
        Number of the batch within its loader.
    dataloader_idx
        Number of the loader, where several are read one after another; else ``None``.
    """

    batch: Any
    batch_idx: int
    dataloader_idx: int | None = None


def combined(loaders: Any, mode: Any) -> CombinedLoader:
    """Loaders as a ``CombinedLoader``; one that was given is it itself, with a mode of its own."""
    return loaders if isinstance(loaders, CombinedLoader) else CombinedLoader(loaders, mode)


def first_batches(loaders: CombinedLoader, n: int) -> list[LoadedBatch]:
    """Read the first batches with generators seeded anew; the loaders are then as they were.

    Parameters
    ----------
    loaders
        All of them.
    n
        How many of each loader, where they are read one after another; else how many in all.

    Raises
    ------
    ValueError
        If a loader can be read only once.
    """
    return list(batches_anew(loaders, n))


def batches_anew(
    loaders: CombinedLoader, n: int | None = None
) -> Generator[LoadedBatch, None, None]:
    """Read batches one by one as :func:`first_batches`; close it, if not all are read."""
    in_turn = loaders._mode == VALIDATION
    several = in_turn and len(loaders.flattened) > 1
    reader = copy.copy(loaders)
    reader.limits = loaders.limits if n is None else limits(loaders, n)
    with read_anew(loaders.flattened):
        for batch, index, loader in islice(reader, None if in_turn else n):
            yield LoadedBatch(batch, index, loader if several else None)


def limits(loaders: CombinedLoader, most: float) -> list[int | float]:
    """How many batches of each loader to read.

    Parameters
    ----------
    loaders
        All of them, with limits of their own where a trainer has set them.
    most
        A number of batches, or a share of a loader's, as of ``limit_val_batches``.
    """
    own = loaders.limits
    known = own if isinstance(own, list) else [own] * len(loaders.flattened)
    found = []
    for loader, limit in zip(loaders.flattened, known, strict=True):
        wanted: float = most
        if isinstance(most, float):
            length = sized_len(loader)
            wanted = math.inf if length is None else int(length * most)
        found.append(wanted if limit is None else min(limit, wanted))
    return found


def loaders_of_validation(trainer: pl.Trainer) -> CombinedLoader | None:
    """The loaders that a trainer validates on; in a fit they are loaded if they are not yet."""
    fit, alone = trainer.fit_loop.epoch_loop.val_loop, trainer.validate_loop
    if trainer.state.fn == "fit" and fit._combined_loader is None:
        fit.setup_data()
    return alone._combined_loader if fit._combined_loader is None else fit._combined_loader


class LateLoader(CombinedLoader):
    """Iterates its loaders no sooner than the first batch is asked for; made by :func:`late`."""

    _begun = True

    def __iter__(self) -> Any:
        # Lightning iterates once more than it reads where loaders are made anew every few epochs,
        # and, in another way, behind a resume: an epoch is to begin alike in both.
        self._begun = False
        return self

    def __next__(self) -> Any:
        if not self._begun:
            self._begun = True
            self._begin()
        return self._following()

    def _begin(self) -> None:
        super().__iter__()

    def _following(self) -> Any:
        return super().__next__()

    def __len__(self) -> int:
        # Lightning asks before the first batch, and would have to be given iterators for it.
        sizes = copy.copy(self)
        lengths = map(sized_len, self.flattened)
        sizes.flattened = [iter(()) if n is None else range(n) for n in lengths]
        super(LateLoader, sizes).__iter__()
        return super(LateLoader, sizes).__len__()


def late(loaders: Any, mode: Any, kind: type[LateLoader] = LateLoader) -> Any:
    """A copy of loaders that is iterated late; the loaders themselves are shared with it."""
    given = combined(loaders, mode)
    copied: Any = object.__new__(type(kind.__name__, (kind, type(given)), {}))
    copied.__dict__.update(given.__dict__)
    return copied
