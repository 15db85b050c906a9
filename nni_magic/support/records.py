"""What is recorded of an exported child beside its weights: where it comes from, what it costs."""

from __future__ import annotations

import copy
import logging
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import nni_bootstrap  # noqa: F401
import torch
from nni.nas.profiler.pytorch.flops import FlopsParamsProfiler
from torch import Tensor, nn

from .. import __version__
from .files import file_digest

__all__ = ["count_flops", "count_params", "provenance"]

_logger = logging.getLogger(__name__)


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


def count_params(module: nn.Module) -> int:
    """Count the numbers in all parameters; one that is shared counts once.

    Examples
    --------
    >>> count_params(nn.Linear(3, 2))
    8
    """
    return sum(parameter.numel() for parameter in module.parameters())


def count_flops(
    child: nn.Module, args: Sequence[Tensor] = (), kwargs: Mapping[str, Tensor] | None = None
) -> int | None:
    """Count a child's FLOPs with NNI's profiler, which calls a multiply-add one FLOP.

    Parameters
    ----------
    child
        A stand-alone child in evaluation mode, on the CPU.
    args, kwargs
        Example inputs, of any batch size.

    Returns
    -------
    int or None
        FLOPs for one row of the batch. None, with a warning, where NNI has no formula for a part
        of the child: a sum without that part would be wrong.
    """
    nni_logger = logging.getLogger("nni.nas.profiler")
    level = nni_logger.level
    nni_logger.setLevel(logging.CRITICAL)  # it says much; the one warning here is what matters
    try:
        # On a copy, because hooks of NNI stay on a module that it cannot profile.
        counted = FlopsParamsProfiler(copy.deepcopy(child), (*args, dict(kwargs or {}))).profile({})
    except Exception as error:  # NNI raises all kinds
        _logger.warning("FLOPs are not counted, because NNI's profiler fails: %r", error)
        return None
    finally:
        nni_logger.setLevel(level)
    if counted.params != count_params(child):
        _logger.warning(
            "FLOPs are not counted, because NNI's profiler finds %d of the child's %d parameters",
            counted.params, count_params(child),
        )  # fmt: skip
        return None
    return round(counted.flops)
