"""Settings kept in a training's checkpoint, so that it is not continued with others."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nni_bootstrap  # noqa: F401
import pytorch_lightning as pl

from ..support.files import file_digest
from ..support.made_with import check_same
from ..tasks.domain import Domain

__all__ = ["MadeWith", "scored_with"]

SCORING = ("batch_size", "validation_batches", "calibration_batches", "precision")
"""Settings of the task that scores depend on."""


def scored_with(domain: Domain, checkpoint: Path) -> dict[str, Any]:
    """All that the scores of children depend on, with weights inherited from a checkpoint."""
    return {
        "checkpoint": file_digest(checkpoint),
        **{name: getattr(domain.settings, name) for name in SCORING},
        "data": domain.data_settings(),
    }


class MadeWith(pl.Callback):
    """Keeps the settings of a training in its checkpoint, and refuses one of other settings.

    Parameters
    ----------
    checkpoint
        Named in the error.
    settings
        In types that JSON knows.
    """

    def __init__(self, checkpoint: Path, settings: Mapping[str, Any]) -> None:
        self.checkpoint = checkpoint
        self.settings: dict[str, Any] = json.loads(json.dumps(settings))
        self._compared = False

    def state_dict(self) -> dict[str, Any]:
        return self.settings

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        check_same(repr(str(self.checkpoint)), state_dict, self.settings)
        self._compared = True

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Refuse a checkpoint without settings, for which Lightning does not ask us to load."""
        if trainer.ckpt_path is not None and not self._compared:
            raise ValueError(
                f"{str(self.checkpoint)!r} does not record the settings that it was made with"
            )
