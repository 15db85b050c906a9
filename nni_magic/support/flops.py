"""FLOPs of a stand-alone child: by NNI's formulas, or by torch's counter where NNI has none."""

from __future__ import annotations

import copy
import logging
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import nni_bootstrap  # noqa: F401
import torch
from nni.nas.profiler.pytorch.flops import FlopsParamsProfiler
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear
from torch.utils.flop_counter import FlopCounterMode

__all__ = ["count_flops", "count_params"]

_logger = logging.getLogger(__name__)


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
        FLOPs for one row of the batch. Where that fails at a module, a warning names it, and
        all is counted by ``torch.utils.flop_counter``: multiply-adds of matrix products,
        convolutions and attention, without biases and norms. None, with a warning, where that
        sees nothing of a module's weights either, such as those of an ``LSTM`` on the CPU: a sum
        without that module would be wrong.
    """
    inputs = (*args, dict(kwargs or {}))
    # On a copy, because hooks of NNI stay on a module that it cannot profile.
    profiled = copy.deepcopy(child)
    try:
        with _quiet_profiler():
            counted = FlopsParamsProfiler(profiled, inputs).profile({})
    except Exception as error:  # NNI raises all kinds
        problem = f"NNI's profiler fails at {_where(error, profiled)}"
    else:
        if counted.params == count_params(child):
            return round(counted.flops)
        found = f"{counted.params:.0f} of the child's {count_params(child)} parameters"
        problem = f"NNI's profiler finds {found}"
    return _by_torch(child, args, kwargs or {}, problem)


def _by_torch(
    child: nn.Module, args: Sequence[Tensor], kwargs: Mapping[str, Tensor], problem: str
) -> int | None:
    # With gradients, as layers without them take fused kernels that the counter does not know.
    counted = copy.deepcopy(child).requires_grad_()
    counter = FlopCounterMode(display=False)
    try:
        with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH), counter:
            counted(*args, **kwargs)
    except Exception as error:  # a module may not run with gradients
        _logger.warning("FLOPs are not counted, because %s, and torch's counter fails: %r",
                        problem, error)  # fmt: skip
        return None
    by_module = counter.get_flop_counts()
    root = type(counted).__name__
    unseen = [
        name or root
        for name, module in counted.named_modules()
        if _multiplies(module) and not by_module.get(f"{root}.{name}" if name else root)
    ]
    total = counter.get_total_flops() // 2  # torch counts two for a multiply-add
    if unseen or not total:
        _logger.warning("FLOPs are not counted, because %s, and torch's counter sees none of %s",
                        problem, ", ".join(unseen or [root]))  # fmt: skip
        return None
    _logger.warning("FLOPs are counted by torch.utils.flop_counter, which leaves out biases and "
                    "norms, because %s", problem)  # fmt: skip
    n_rows = len(next(iter([*args, *kwargs.values()])))
    return total // n_rows


def _multiplies(module: nn.Module) -> bool:
    """Whether a module has matrices of its own by which something should be multiplied."""
    own = module.parameters(recurse=False)
    # The last one is an attention's, which reads its weights and does not call it.
    others = nn.Embedding, nn.EmbeddingBag, NonDynamicallyQuantizableLinear
    return not isinstance(module, others) and any(weight.ndim > 1 for weight in own)


def _where(error: Exception, model: nn.Module) -> str:
    """Name the innermost module in which an error arose, as ``model.named_modules`` does."""
    names = {id(module): name for name, module in model.named_modules()}
    found = model
    for frame, _ in traceback.walk_tb(error.__traceback__):
        for value in frame.f_locals.values():
            if isinstance(value, nn.Module) and id(value) in names:
                found = value
    name, kind = names[id(found)], type(found).__name__
    return f"{name!r}, of type {kind}" if name else f"the model, of type {kind}"


@contextmanager
def _quiet_profiler() -> Iterator[None]:
    """Let NNI's profiler be silent: it says much, and the one warning here is what matters."""
    logger = logging.getLogger("nni.nas.profiler")
    level: Any = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
