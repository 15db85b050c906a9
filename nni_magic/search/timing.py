"""Time calls of modules so that the figures can be compared with each other."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from time import perf_counter
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from ..supernet.hidden_states import Call

__all__ = ["Prepare", "example_call", "fresh", "median_milliseconds"]

Prepare = Callable[[], Callable[[], Any]]
"""Prepares a run, which takes no counted time, and gives the function that is timed."""


def median_milliseconds(
    tasks: Sequence[Prepare], device: torch.device, *, repeats: int
) -> list[float]:
    """Median times of tasks, in milliseconds.

    The tasks take turns, so that none is favoured by a quiet moment of the machine. In its turn a
    task runs twice, and the second run counts: a child in use finds the caches as it left them.

    Parameters
    ----------
    tasks
        What to time.
    device
        Where they run; a GPU is waited for.
    repeats
        How many turns each task has.
    """
    times: list[list[float]] = [[] for _ in tasks]
    for _ in range(repeats):
        for task, own in zip(tasks, times, strict=True):
            task()()
            run = task()
            began = _now(device)
            run()
            own.append(1000 * (_now(device) - began))
    return [statistics.median(own) for own in times]


def _now(device: torch.device) -> float:
    """Time in seconds, when the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return perf_counter()


def example_call(args: Any, batch_size: int, device: torch.device) -> Call:
    """Make a call of a model out of example inputs.

    Parameters
    ----------
    args
        As for NNI's profilers: a tensor, or a tuple of inputs that may end with a dict of further
        ones by name. The first dimension of tensors is the batch, of at least one row.
    batch_size
        Rows of the call; the rows of the example are repeated up to that number.
    device
        Where the tensors go.

    Raises
    ------
    ValueError
        If a tensor has no row.

    Examples
    --------
    >>> call = example_call((torch.zeros(2, 5), {"mask": torch.ones(2)}), 3, torch.device("cpu"))
    >>> call.args[0].shape, call.kwargs["mask"].shape
    (torch.Size([3, 5]), torch.Size([3]))
    """

    def batch(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        if not value.dim() or not len(value):
            raise ValueError(
                f"an example input has shape {tuple(value.shape)}; accepted are tensors whose "
                "first dimension is a batch of at least one row"
            )
        return value[torch.arange(batch_size) % len(value)].to(device)

    inputs = tuple(args) if isinstance(args, (tuple, list)) else (args,)
    named = inputs[-1] if inputs and isinstance(inputs[-1], Mapping) else None
    positional = inputs if named is None else inputs[:-1]
    return Call(tree_map(batch, positional), tree_map(batch, dict(named or {})))


def fresh(state: Any) -> Any:
    """Copy the tensors of a state, or of a call, as what runs next may change them in place."""
    if isinstance(state, Call):
        return Call(fresh(state.args), fresh(state.kwargs))
    return tree_map(lambda value: value.clone() if isinstance(value, Tensor) else value, state)
