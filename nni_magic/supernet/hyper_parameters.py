"""Hyper-parameters of evaluator and DataModule, as Lightning puts them into a checkpoint."""

from __future__ import annotations

import io
import logging
from typing import Any

import pytorch_lightning as pl
import torch

from ..support.compat import plain_types

__all__ = ["keep_loadable"]

_logger = logging.getLogger(__name__)

KEYS = (
    pl.LightningModule.CHECKPOINT_HYPER_PARAMS_KEY,
    pl.LightningDataModule.CHECKPOINT_HYPER_PARAMS_KEY,
)


def keep_loadable(checkpoint: dict[str, Any]) -> None:
    """Leave out hyper-parameters that would keep a checkpoint from being read safely.

    Tensors, plain values and numpy arrays are read without running code. A class or function, such
    as the optimizer that NNI's evaluators keep, would stop a resumed run.
    """
    for key in KEYS:
        given = checkpoint.get(key, {})
        left_out = [name for name, value in given.items() if not _loads(value)]
        if left_out:
            _logger.info("%s without %s, which are not plain values", key, left_out)
            checkpoint[key] = {k: v for k, v in given.items() if k not in left_out}


def _loads(value: Any) -> bool:
    file = io.BytesIO()
    try:
        torch.save(value, file)
        file.seek(0)
        with torch.serialization.safe_globals(plain_types()):
            torch.load(file, weights_only=True)
    except Exception:  # of pickle or torch, whatever the value is
        return False
    return True
