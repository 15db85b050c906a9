"""The steps of a chain as they are in stand-alone children, without what a supernet adds."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from nni.mutable import Sample
from nni.nas.nn.pytorch import ModelSpace
from nni.nas.nn.pytorch.base import recursive_freeze
from nni.nas.oneshot.pytorch.supermodule.base import BaseSuperNetModule
from torch import nn

from ..children.samples import Candidates, candidates
from ..supernet.chain import ChainStep, chain_of
from ..supernet.connection import as_supernet

__all__ = ["StandAloneStep", "own_copy", "stand_alone_child", "stand_alone_steps"]

MAX_WAYS = 1024
"""In how many ways a step can be run at most: all of them have to be measured."""


def own_copy(space: ModelSpace) -> ModelSpace:
    """Copy a model space, to take children out of it.

    Raises
    ------
    ValueError
        If it is a supernet.
    """
    if any(isinstance(module, BaseSuperNetModule) for module in space.modules()):
        raise ValueError(
            f"{type(space).__name__} is a supernet already, whose modules take longer than a "
            "child's; a latency table needs the model space before it is made one"
        )
    return copy.deepcopy(space)


def stand_alone_child(space: ModelSpace, sample: Sample, device: torch.device) -> nn.Module:
    """Freeze a child, in evaluation mode; the modules that it takes of the space move with it."""
    return _ready(space.freeze(sample), device)


def _ready(module: nn.Module, device: torch.device) -> nn.Module:
    # Behind freezing, because it makes some modules anew: on the CPU, in training mode.
    return module.to(device).eval()


@dataclass(frozen=True)
class StandAloneStep:
    """A step of a chain, as stand-alone children run it.

    Attributes
    ----------
    step
        The step of a supernet, which is itself never run.
    candidates
        Choices of the labels that it depends on, a depth included.
    place
        Name of the module that it runs; where it runs no module, its index in the chain.
    """

    step: ChainStep
    candidates: Candidates
    place: str | int

    def ways(self) -> list[Sample]:
        """Combinations of choices, those of the last label changing fastest."""
        every = itertools.product(*self.candidates.values())
        return [dict(zip(self.candidates, way, strict=True)) for way in every]

    def stand_alone(
        self, space: ModelSpace, sample: Sample, device: torch.device
    ) -> Callable[..., Any]:
        """What the step runs in a stand-alone child."""
        if isinstance(self.place, str):
            return _ready(recursive_freeze(space.get_submodule(self.place), sample)[0], device)
        return chain_of(stand_alone_child(space, sample, device))[self.place].run


def stand_alone_steps(space: ModelSpace) -> list[StandAloneStep]:
    """Find the steps of a model space.

    Raises
    ------
    ValueError
        If the space is no chain, has choices that are lists or outside of its steps, or a step
        has more than 1,024 ways to be run.
    """
    name, known, supernet = type(space).__name__, candidates(space), as_supernet(space)
    steps = chain_of(supernet)
    if len(steps) == 1:
        raise ValueError(
            f"{name} is no chain: a latency table needs a space with stem, layers and head"
        )
    if lists := [label for label, own in known.items() if any(isinstance(c, list) for c in own)]:
        raise ValueError(f"{name} has labels whose choices are lists, which no table has: {lists}")
    names = {module: name for name, module in supernet.named_modules()}
    found = []
    for n, step in enumerate(steps):
        depth = [] if step.repeat is None else map(str, step.repeat.depth_choice.simplify())
        own = {label: known[label] for label in dict.fromkeys([*depth, *step.labels])}
        if (ways := math.prod(map(len, own.values()))) > MAX_WAYS:
            raise ValueError(
                f"step {n} of {name} can be run in {ways} ways, by its labels {list(own)}; a "
                f"latency table measures {MAX_WAYS} at most"
            )
        found.append(StandAloneStep(step, own, names.get(step.run, n if n == 0 else -1)))
    if missing := known.keys() - {label for step in found for label in step.candidates}:
        raise ValueError(f"{name} has choices outside of its chain's steps: {sorted(missing)}")
    return found
