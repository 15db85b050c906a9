"""The held-out batches that children are scored on."""

from __future__ import annotations

import copy
from typing import Any

from pytorch_lightning.utilities import CombinedLoader

from ..supernet.loaders import (
    VALIDATION,
    LoadedBatch,
    combined,
    first_batches,
    limits,
    loaders_of_validation,
)

__all__ = ["HeldOut", "NoHeldOutData"]


class NoHeldOutData(ValueError):
    """There is nothing to score children on."""


class HeldOut:
    """Reads the batches once and keeps them, on the CPU, for the whole run.

    All generators are set for it, so that a resumed run has the same ones, also of a loader that
    shuffles or of data that are augmented.

    Parameters
    ----------
    module
        Attached to the trainer whose loaders are read by default.
    n_batches
        How many: of each loader, if several are read one after another; not more than the
        trainer's ``limit_val_batches``.
    loaders
        The data, in any form that Lightning accepts; by default the trainer's own.
    """

    def __init__(self, module: Any, n_batches: int, loaders: Any = None) -> None:
        self._module = module
        self._n_batches = n_batches
        self._given = loaders
        self._batches: list[LoadedBatch] | None = None

    def reset(self) -> None:
        """Forget the batches, so that the trainer's present data are read."""
        self._batches = None

    def read(self) -> list[LoadedBatch]:
        """The batches.

        Raises
        ------
        NoHeldOutData
            If there are none.
        """
        if self._batches is None:
            loaders = self._loaders()
            self._batches = [] if loaders is None else first_batches(loaders, self._n_batches)
        if not self._batches:
            raise NoHeldOutData(
                "there are no validation batches to score children on: give the evaluator "
                "val_dataloaders that are not empty, and limit_val_batches other than 0"
            )
        return self._batches

    def _loaders(self) -> CombinedLoader | None:
        if self._given is None:
            found = loaders_of_validation(self._module.trainer)
        else:
            found = combined(self._given, VALIDATION)
        if found is None:
            return None
        loaders = copy.copy(found)
        loaders.limits = None  # in a fit it may be that of the check before training
        loaders.limits = limits(loaders, self._module.trainer.limit_val_batches)
        return loaders
