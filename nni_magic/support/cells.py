"""Freeze the cells of NNI's path-sampling supernets to what their path computes.

NNI freezes none of them: a ``PathSamplingCell`` raises, a stage of the hub's cell spaces forgets
the module that it adds for a depth of one, and ``NDS.freeze`` builds the model anew, with random
weights. Here the modules that the path runs are put together as NNI's own ``Cell`` and
``Sequential``, whose names are those of the child that NNI builds anew.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import partial
from typing import Any

from nni.nas.hub.pytorch.nasnet import NDS, NDSStagePathSampling
from nni.nas.nn.pytorch import Cell, MutableModule, Repeat
from nni.nas.nn.pytorch.base import recursive_freeze
from nni.nas.oneshot.pytorch.supermodule.sampling import PathSamplingCell
from nni.nas.space import model_context
from torch import nn

__all__ = ["freeze_cell", "freeze_root", "freeze_stage", "own_freeze"]


def own_freeze(module: nn.Module) -> Any:
    """What freezes a module in NNI's place; ``None`` where NNI's freezing is right."""
    freeze = getattr(type(module), "freeze", None)
    if isinstance(module, PathSamplingCell) and freeze is PathSamplingCell.freeze:
        return partial(freeze_cell, module)
    if isinstance(module, NDSStagePathSampling) and freeze is Repeat.freeze:
        return partial(freeze_stage, module)
    return None


def freeze_root(supernet: Any, sample: Mapping[str, Any]) -> Any:
    """Freeze a supernet, module by module where its own ``freeze`` would build it anew."""
    anew = type(supernet).freeze is NDS.freeze
    return MutableModule.freeze(supernet, sample) if anew else supernet.freeze(sample)


def freeze_cell(cell: PathSamplingCell, sample: Mapping[str, Any]) -> Cell:
    """Freeze a cell; it shares its operators with the supernet.

    The supernet joins all nodes to the cell's output, also where the space says ``loose_end``, as
    it could not change its shapes. So does the child: the weights behind it know nothing else.
    """
    operators = {name: partial(_operator, cell, name) for name in cell.op_names}
    with model_context(sample):
        frozen = Cell(
            operators, cell.num_nodes, cell.num_ops_per_node, cell.num_predecessors, "all",
            cell.preprocessor, cell.postprocessor, cell.concat_dim, label=cell.label,
        )  # fmt: skip
    frozen.op_candidates_factory = None  # it would keep all operators alive
    for node in frozen.ops:
        for place, operator in enumerate(node):
            if any(operator is other for other in list(node)[:place]):
                node[place] = copy.deepcopy(operator)  # two in the child, as in one built anew
    return recursive_freeze(frozen, sample, include_root=False)[0]


def _operator(cell: PathSamplingCell, name: str, node: int, op: int, chosen: int) -> nn.Module:
    return cell.ops[node - cell.num_predecessors][chosen][name]


def freeze_stage(stage: NDSStagePathSampling, sample: Mapping[str, Any]) -> nn.Sequential:
    """Freeze a stage of variable depth, with what the supernet adds to a depth of one."""
    blocks = Repeat.freeze(stage, sample)
    if len(blocks) == 1 and stage.first_cell_transformation is not None:
        blocks.append(_Aligned(recursive_freeze(stage.first_cell_transformation, sample)[0]))
    return blocks


class _Aligned(nn.Module):
    """Gives the state before the stage the shape of the state behind it."""

    def __init__(self, transformation: nn.Module) -> None:
        super().__init__()
        self.transformation = transformation

    def forward(self, states: Any) -> list[Any]:
        before, behind = states
        return [self.transformation(before), behind]
