"""What is recorded of an exported child beside its weights: where it comes from."""

from __future__ import annotations

import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import nni_bootstrap  # noqa: F401
import torch

from .. import __version__
from .files import file_digest

__all__ = ["provenance"]


def provenance(*, seed: int, checkpoint: str | Path | None = None, **extra: Any) -> dict[str, Any]:
    """Record where children come from; without a date, so that the same input gives the same.

    Parameters
    ----------
    seed
        The seed of the supernet's training.
    checkpoint
        The supernet's checkpoint. Its name and SHA-256 digest are recorded.
    **extra
        Whatever else is worth knowing and can be written as JSON, such as a commit or settings.

    Examples
    --------
    >>> provenance(seed=1, commit="3f0c")["commit"]
    '3f0c'
    """
    record: dict[str, Any] = {
        "seed": seed,
        "versions": {
            "nni-magic": __version__,
            "nni": version("nni"),
            "torch": str(torch.__version__),
            "python": platform.python_version(),
        },
    }
    if checkpoint is not None:
        record["checkpoint"] = {"name": Path(checkpoint).name, "sha256": file_digest(checkpoint)}
    return {**record, **extra}
