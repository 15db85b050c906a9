"""How long the parts of a run took, over all its starts."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import nni_bootstrap  # noqa: F401
import pytorch_lightning as pl

from ..support.errors import check_number, naming
from ..support.files import read_record, write_json

__all__ = ["Clock", "TimedEpochs"]


class Clock:
    """Wall times of a run's parts, kept in a file whenever a part has got on.

    So a run that was killed and started again tells the time of all its starts, up to the last
    epoch or generation of each; and one that is over, and started again, the same as before.

    Parameters
    ----------
    path
        The file.

    Attributes
    ----------
    seconds : dict
        Seconds by the names of the parts.

    Raises
    ------
    ValueError
        If the file is damaged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        record = read_record(path, seconds=Mapping) or {"seconds": {}}
        self.seconds: dict[str, float] = dict(record["seconds"])
        with naming(repr(str(path))):
            for part, seconds in self.seconds.items():
                check_number(part, seconds, at_least=0)
        self.begin()

    def begin(self, anew: str | None = None) -> None:
        """Count from now on; what was counted of a part that is done ``anew`` is forgotten."""
        if anew is not None:
            self.seconds.pop(anew, None)
        self._last = time.monotonic()

    def add(self, part: str) -> None:
        """Add the time since the last call to a part, and write the file."""
        now = time.monotonic()
        self.seconds[part] = self.seconds.get(part, 0.0) + now - self._last
        self._last = now
        write_json(self._path, {"seconds": self.seconds})


class TimedEpochs(pl.Callback):
    """Adds every epoch of a training to a part of a run.

    Parameters
    ----------
    clock
        Of the run.
    part
        What the training is called.
    """

    def __init__(self, clock: Clock, part: str) -> None:
        self._clock = clock
        self._part = part
        self._trained = False

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.ckpt_path is None:
            self._clock.begin(anew=self._part)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._clock.add(self._part)
        self._trained = True

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._trained:  # what came behind the last epoch's end, such as its shrinking
            self._clock.add(self._part)
