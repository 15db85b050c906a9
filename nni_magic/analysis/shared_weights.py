"""The weights of a candidate that several children share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from nni.mutable import Sample
from nni.nas.nn.pytorch import ModelSpace
from nni.nas.oneshot.pytorch.supermodule.sampling import PathSamplingCell, PathSamplingLayer
from torch import nn

from ..children.samples import active_labels

__all__ = ["shared_weights", "trainable_weights"]

Block: TypeAlias = PathSamplingLayer | nn.ModuleDict


def shared_weights(model: ModelSpace, label: str, children: Sequence[Sample]) -> list[nn.Parameter]:
    """Weights of the candidate that all children have in a choice block.

    Parameters
    ----------
    model
        The supernet.
    label
        The choice block.
    children
        Samples of the supernet, one at least.

    Raises
    ------
    ValueError
        If there is no such choice block, a child has no such block, another candidate or, in a
        cell, another input, or the candidate has no weights to train.
    """
    first, *others = (_blocks(model, child) for child in children)
    if label not in first:
        raise ValueError(f"label is {label!r}; accepted are the choice blocks {list(first)}")
    for child in children:
        if label not in active_labels(model, child):
            raise ValueError(f"the choice block {label!r} is not part of the child {child}")
    choices = list(dict.fromkeys(child[label] for child in children))
    if len(choices) > 1:
        raise ValueError(f"the children do not share a candidate: in {label!r} they have {choices}")
    if any(blocks[label] != first[label] for blocks in others):
        raise ValueError(
            f"the children do not share a candidate: {choices[0]!r} of {label!r} has other "
            "weights for every input of the cell, and their inputs differ"
        )
    if not (weights := trainable_weights(first[label], choices[0])):
        raise ValueError(
            f"the candidate {choices[0]!r} of {label!r} has no weights to train, and so no gradient"
        )
    return weights


def trainable_weights(blocks: Sequence[Block], choice: Any) -> list[nn.Parameter]:
    """Weights of a candidate that are trained, in all the blocks of one label."""
    found = {id(p): p for block in blocks for p in block[choice].parameters() if p.requires_grad}
    return list(found.values())


def _blocks(model: nn.Module, child: Sample) -> dict[str, list[Block]]:
    """Map every label to what holds its candidates; in a cell, for the input that a child takes."""
    found: dict[str, list[Block]] = {}
    for module in model.modules():
        if isinstance(module, PathSamplingLayer):
            found.setdefault(str(module.label), []).append(module)
        elif isinstance(module, PathSamplingCell):
            for node, by_input in enumerate(module.ops, module.num_predecessors):
                for op in range(module.num_ops_per_node):
                    [chosen] = child[f"{module.label}/input_{node}_{op}"]
                    found.setdefault(f"{module.label}/op_{node}_{op}", []).append(by_input[chosen])
    return found
