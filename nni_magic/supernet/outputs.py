"""Compare what two models give, in whatever containers."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten

__all__ = ["alike", "tolerance"]


def tolerance() -> float:
    """By how much outputs may differ, relative to the largest, when they are computed otherwise."""
    low = torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda")
    return 0.1 if low else 1e-3


def alike(a: Any, b: Any, tolerance: float = 0.0) -> bool:
    """Tell whether two outputs are the same.

    Parameters
    ----------
    a, b
        Tensors, and ``None`` or anything else, in any nesting of lists, tuples, dicts and
        dataclasses. Objects that know no equality but their own identity are not compared.
    tolerance
        By how much tensors may differ, relative to the largest value of the second; at least the
        precision of their type. With 0 they have to be equal.

    Examples
    --------
    >>> import torch
    >>> alike((torch.ones(2), None), (torch.ones(2) + 1e-4, None), 1e-3)
    True
    """
    (leaves_a, spec_a), (leaves_b, spec_b) = tree_flatten(a), tree_flatten(b)
    pairs = zip(leaves_a, leaves_b, strict=True)
    return spec_a == spec_b and all(_leaf_alike(x, y, tolerance) for x, y in pairs)


def _leaf_alike(x: Any, y: Any, tolerance: float) -> bool:
    if isinstance(x, Tensor) and isinstance(y, Tensor):
        return _close(x, y, tolerance)
    if x is y or type(x) is not type(y):
        return x is y or x == y
    if dataclasses.is_dataclass(x):
        return alike(vars(x), vars(y), tolerance)
    return type(x).__eq__ is object.__eq__ or bool(x == y)


def _close(x: Tensor, y: Tensor, tolerance: float) -> bool:
    if x.shape != y.shape or x.dtype != y.dtype:
        return False
    if not tolerance or x.dtype == torch.bool:
        return torch.equal(x, y)
    largest = y.nan_to_num(0, 0, 0).abs().max().item() if y.numel() else 0.0
    precision = 16 * torch.finfo(y.dtype).eps if y.is_floating_point() else 0.0
    return torch.allclose(x, y, rtol=0, atol=max(tolerance, precision) * largest, equal_nan=True)
