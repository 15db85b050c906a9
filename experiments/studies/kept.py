"""A supernet's training that is kept after every epoch, and goes on from there after a kill."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from nni.nas.evaluator.pytorch import Lightning
from pytorch_lightning.callbacks import Checkpoint

from nni_magic.programs.made_with import MadeWith
from nni_magic.supernet.checkpoint import AtomicCheckpointIO

__all__ = ["CPUTime", "KeptTraining"]


class CPUTime(pl.Callback):
    """CPU time of a training, in seconds, over all its starts; what a kill undid does not count."""

    def __init__(self) -> None:
        self._before = 0.0
        self._started = time.process_time()

    @property
    def seconds(self) -> float:
        """CPU time up to now."""
        return self._before + time.process_time() - self._started

    def state_dict(self) -> dict[str, Any]:
        return {"seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._before, self._started = state_dict["seconds"], time.process_time()


class _EveryEpoch(Checkpoint):
    """Writes a checkpoint to one file; as Lightning runs it, behind the end of the epoch."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        trainer.save_checkpoint(self._path)


class KeptTraining:
    """Keeps a training in a file while it runs.

    Parameters
    ----------
    path
        The file, written after every epoch.
    made_with
        Settings that a training must have been begun with to be gone on with.

    Attributes
    ----------
    cpu_time : CPUTime
        Of the training.
    """

    def __init__(self, path: Path, made_with: Mapping[str, Any]) -> None:
        self._path = path
        self.cpu_time = CPUTime()
        self._callbacks = [
            MadeWith(path, made_with),
            self.cpu_time,
            _EveryEpoch(path),
        ]

    @property
    def trainer_kwargs(self) -> dict[str, Any]:
        """Settings of Lightning's trainer with which it is kept."""
        return {
            "enable_checkpointing": True,
            "plugins": [AtomicCheckpointIO()],
            "callbacks": self._callbacks,
        }

    def go_on(self, evaluator: Lightning) -> None:
        """Let an evaluator's training begin where the file was written, if there is one."""
        if self._path.exists():
            evaluator.fit_kwargs = {"ckpt_path": str(self._path), "weights_only": True}

    def over(self) -> None:
        """Remove the file."""
        self._path.unlink(missing_ok=True)
