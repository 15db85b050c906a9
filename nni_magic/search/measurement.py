"""Measure the steps of a chain one by one, each in all the ways in which it can be run."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from nni.nas.nn.pytorch import ModelSpace
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map

from .. import __version__
from ..children.samples import Candidates, candidates
from ..supernet.hidden_states import Call
from .stand_alone import StandAloneStep, stand_alone_steps
from .timing import Prepare, fresh, median_milliseconds

__all__ = ["conditions", "step_milliseconds"]


def step_milliseconds(
    space: ModelSpace, call: Call, device: torch.device, *, repeats: int
) -> list[tuple[Candidates, list[float]]]:
    """Measure every step of a chain on the hidden states that it gets in a child.

    Parameters
    ----------
    space
        A model space that is no supernet. What is run of it moves to the device and is put into
        evaluation mode.
    call
        Of the model, with inputs on the device.
    device
        Where to measure.
    repeats
        Runs of each way whose median is taken, see :func:`.timing.median_milliseconds`.

    Returns
    -------
    list of tuple
        For every step, in the order of execution, the labels that it depends on with their
        choices, and the milliseconds of each combination of these. They are 0 where the choice of
        a depth leaves the step out.

    Raises
    ------
    ValueError
        If a candidate gives hidden states of another shape than the others of its step, or as
        :func:`.stand_alone.stand_alone_steps`.
    """
    with torch.inference_mode():
        steps = stand_alone_steps(space)
        tasks = _tasks(space, steps, call, device)
        timed = [task for ways in tasks for task in ways if task is not None]
        times = iter(median_milliseconds(timed, device, repeats=repeats))
        rows = [[0.0 if task is None else next(times) for task in ways] for ways in tasks]
    return [(step.candidates, row) for step, row in zip(steps, rows, strict=True)]


def conditions(call: Call, device: torch.device) -> dict[str, Any]:
    """What a time depends on besides the model: hardware, threads, shapes of inputs, versions."""
    cuda = device.type == "cuda"
    processor = platform.processor() or platform.machine()
    inputs, _ = tree_flatten([call.args, call.kwargs])
    return {
        "device": str(device),
        "hardware": torch.cuda.get_device_name(device) if cuda else processor,
        "threads": torch.get_num_threads(),
        "inputs": [list(each.shape) for each in inputs if isinstance(each, Tensor)],
        "versions": {"nni-magic": __version__, "torch": str(torch.__version__)},
    }


def _tasks(
    space: ModelSpace, steps: Sequence[StandAloneStep], call: Call, device: torch.device
) -> list[list[Prepare | None]]:
    """For every step its ways to be run; ``None`` where a depth leaves it out."""
    first = {label: choices[0] for label, choices in candidates(space).items()}
    tasks: list[list[Prepare | None]] = []
    state: Any = call
    for n, each in enumerate(steps):
        given, ways = each.step.given(call), each.ways()
        runs = [each.stand_alone(space, {**first, **way}, device) for way in ways]
        states = [run(fresh(state), **given) for run in runs]
        for way, shape in zip(ways, map(_shapes, states), strict=True):
            if shape != _shapes(states[0]):
                raise ValueError(
                    f"step {n} gives hidden states of shape {shape} with {way}, and of "
                    f"{_shapes(states[0])} with {ways[0]}; a latency table needs candidates that "
                    "give one shape"
                )
        tasks.append([
            None if each.step.key(way) is None else partial(_step, run, state, given)
            for run, way in zip(runs, ways, strict=True)
        ])  # fmt: skip
        state = states[0]
    return tasks


def _step(run: Callable[..., Any], state: Any, given: dict[str, Any]) -> Callable[[], Any]:
    return partial(run, fresh(state), **given)


def _shapes(state: Any) -> Any:
    return tree_map(lambda value: tuple(value.shape) if isinstance(value, Tensor) else None, state)
