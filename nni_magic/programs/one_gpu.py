"""One GPU a process, for trainings by the ``Trainer`` of ``transformers``."""

from __future__ import annotations

import os

import nni_bootstrap  # noqa: F401
import torch

__all__ = ["check_one_gpu"]


def check_one_gpu() -> None:
    """Make sure that this process sees one GPU, or is one of torchrun's, which share them.

    ``Trainer`` would give a batch to each GPU that it sees, so that a batch were larger than the
    setting.

    Raises
    ------
    ValueError
        If it sees several.
    """
    gpus = torch.cuda.device_count()
    if gpus > 1 and "WORLD_SIZE" not in os.environ:
        raise ValueError(
            f"CUDA_VISIBLE_DEVICES leaves {gpus} GPUs to one process; accepted is one, as with "
            "CUDA_VISIBLE_DEVICES=0, or torchrun for nni-magic pretrain"
        )
