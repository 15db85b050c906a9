r"""The number of parameters of every child of a space, as a sum that needs no input data.

.. math:: c(\alpha) = c_0 + \sum_m [m \in \alpha] \cdot |w_m(\alpha)|

A module counts where its candidate is chosen and its depth is reached; one whose shape is chosen
counts by the shape. NNI's ``NumParamsProfiler`` gives the same for the types of modules that it has
a formula for, and needs an example of the model's inputs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import nni_bootstrap  # noqa: F401
from nni.mutable import Mutable, Sample
from nni.nas.nn.pytorch import LayerChoice, ModelSpace, ParametrizedModule, Repeat
from torch import nn

from ..children.costs import CostSum, Summand
from ..children.samples import candidates
from ..support.compat import freeze
from .resume import isolated_randomness

__all__ = ["check_parameters", "parameter_cost"]


class _Part(NamedTuple):
    """Parameters that a child has if all conditions hold."""

    labels: frozenset[str]
    conditions: tuple[Callable[[Sample], bool], ...]
    count: Callable[[Sample], int]

    def __call__(self, sample: Sample) -> int:
        return self.count(sample) if all(holds(sample) for holds in self.conditions) else 0


def parameter_cost(space: ModelSpace) -> CostSum:
    """Give the number of parameters of the children of a space, which is no supernet yet.

    A parameter that several modules share counts once, as in ``Module.parameters()``.
    """
    alike: dict[frozenset[str], list[_Part]] = defaultdict(list)
    for part in _Walk().parts(space, frozenset(), ()):
        alike[part.labels].append(part)
    constant = sum(part({}) for part in alike.pop(frozenset(), []))
    choices = candidates(space)
    return CostSum(
        constant,
        [
            Summand({label: choices[label] for label in sorted(labels)}, partial(_total, parts))
            for labels, parts in alike.items()
        ],
    )


def check_parameters(space: ModelSpace, cost: CostSum, children: Sequence[Sample]) -> None:
    """Compare the cost of children with what NNI builds of them.

    Raises
    ------
    ValueError
        If they differ: the space makes children in a way of its own.
    """
    for child in children:
        with isolated_randomness():  # NNI makes layers of chosen shape anew
            built = _count(freeze(space, child))
        if built != cost(child):
            raise ValueError(
                f"the parameters of child {child} are {built:,}, and {cost(child):,.0f} by the sum "
                f"over the layers of {type(space).__name__}: they cannot be told by its choices; "
                "pass another cost"
            )


class _Walk:
    """Walks through the modules of a space, and counts every parameter once."""

    def __init__(self) -> None:
        self._seen: set[int] = set()

    def parts(self, module: nn.Module, labels: frozenset[str], conditions: tuple[Any, ...]) -> Any:
        if isinstance(module, ParametrizedModule) and (own := _labels(module)):
            yield _Part(labels | own, conditions, partial(_frozen_count, module))
        elif isinstance(module, LayerChoice):
            chosen = labels | {str(module.label)}
            for name in module.names:
                is_chosen = partial(_chosen, str(module.label), name)
                yield from self.parts(module[name], chosen, (*conditions, is_chosen))
        elif isinstance(module, Repeat) and isinstance(module.depth_choice, Mutable):
            deep = labels | _labels(module.depth_choice)
            for n, block in enumerate(module.blocks):
                reached = partial(_deeper, module.depth_choice, n)
                yield from self.parts(block, deep, (*conditions, reached))
        else:
            yield _Part(labels, conditions, partial(_given, self._own(module)))
            for child in module.children():
                yield from self.parts(child, labels, conditions)

    def _own(self, module: nn.Module) -> int:
        fresh = [p for p in module.parameters(recurse=False) if id(p) not in self._seen]
        self._seen.update(map(id, fresh))
        return sum(parameter.numel() for parameter in fresh)


def _labels(mutable: Any) -> frozenset[str]:
    return frozenset(map(str, mutable.simplify()))


def _chosen(label: str, value: Any, sample: Sample) -> bool:
    return bool(sample[label] == value)


def _deeper(depth: Any, n: int, sample: Sample) -> bool:
    return bool(depth.freeze(sample) > n)


def _given(count: int, sample: Sample) -> int:
    return count


def _frozen_count(module: ParametrizedModule, sample: Sample) -> int:
    with isolated_randomness():
        return _count(module.freeze(sample))


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _total(parts: Sequence[_Part], sample: Sample) -> int:
    return sum(part(sample) for part in parts)
