r"""A mixture of NNI's ``Cell`` on a part of the channels, with weights of its edges [Xu2020].

.. math::
    x_i = \sum_{j < i} \beta_{i,j} \sum_o \theta_{i,j,o}\, o(x_j), \qquad
    \beta_i = \mathrm{softmax}(b_i)

With GAEA β is on the simplex itself, as θ.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import nni_bootstrap  # noqa: F401
import torch
from nni.nas.nn.pytorch.cell import preprocess_cell_inputs
from nni.nas.oneshot.pytorch.supermodule.differentiable import DifferentiableMixedCell
from torch import Tensor, nn

__all__ = ["PartialMixedCell"]


class PartialMixedCell(DifferentiableMixedCell):
    """Mixes the operators of every edge, and the edges of every node.

    NNI's own cell has, at every edge, a candidate more that stands for no connection. Here β says
    how much of an edge is taken.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        memo = args[7]
        self._arch_alpha = nn.ParameterDict({
            label: memo.setdefault(f"{label}/in_partial_cell", nn.Parameter(torch.zeros(n)))
            for label, n in self._sizes().items()
        })  # fmt: skip

    def _sizes(self) -> dict[str, int]:
        """Labels of edges and nodes to the number of their candidates."""
        sizes: dict[str, int] = {}
        for i in self.output_node_indices:
            sizes |= {f"{self.label}/{i}_{j}": len(self.op_names) for j in range(i)}
            sizes[f"{self.label}/{i}"] = i
        return sizes

    def forward(self, *inputs: Any) -> Any:
        processed = preprocess_cell_inputs(self.num_predecessors, *inputs)
        states = self.preprocessor(processed)
        for i, edges in enumerate(self.ops, start=self.num_predecessors):
            beta = self._softmax(self._arch_alpha[f"{self.label}/{i}"])
            mixed = [
                beta[j] * self._edge(operators, f"{self.label}/{i}_{j}", states[j])
                for j, operators in enumerate(edges)
            ]
            states.append(torch.stack(mixed).sum(0))
        return self.postprocessor(
            torch.cat(states[self.num_predecessors :], self.concat_dim), processed
        )

    def _edge(self, operators: nn.ModuleDict, label: str, x: Tensor) -> Tensor:
        theta = self._softmax(self._arch_alpha[label])
        partial: Any = next(iter(operators.values()))
        part = partial.part(x)
        passed = [each.operator(part) for each in operators.values()]  # type: ignore[operator]
        return partial.join(sum(w * out for w, out in zip(theta, passed, strict=True)), x)

    @torch.no_grad()
    def export(self, memo: dict[str, Any]) -> dict[str, Any]:
        """NNI's choice of a node's operators and inputs, by the products of β and θ."""
        point = {label: self._point(each) for label, each in self._arch_alpha.items()}
        products = {
            label: each * point[node][int(edge)] if edge else each
            for label, each in point.items()
            for node, _, edge in [label.rpartition("/")[2].partition("_")]
            for node in [f"{self.label}/{node}"]
        }
        weighed = SimpleNamespace(
            num_predecessors=self.num_predecessors, num_nodes=self.num_nodes, label=self.label,
            num_ops_per_node=self.num_ops_per_node, op_names=self.op_names, _arch_alpha=products,
        )  # fmt: skip
        found: dict[str, Any] = DifferentiableMixedCell.export(weighed, memo)
        return found

    def _point(self, parameter: Tensor) -> Tensor:
        """The point on the simplex that a parameter stands for, without samples."""
        training = self._softmax.training
        try:
            return self._softmax.eval()(parameter)
        finally:
            self._softmax.train(training)
