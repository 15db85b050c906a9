"""Base of the strategies that tell children apart by what they cost."""

from __future__ import annotations

from typing import Any

import nni_bootstrap  # noqa: F401
from nni.nas.nn.pytorch import ModelSpace
from nni.nas.profiler import Profiler

from ..children.costs import CostSum, tabulated
from ..children.samples import candidates
from ..supernet.parameters import check_parameters, parameter_cost
from ..support.errors import naming
from .base import SupernetStrategy

__all__ = ["ByCost"]


class ByCost(SupernetStrategy):
    """Train children that are chosen by their cost.

    Parameters
    ----------
    cost
        What a child costs: a profiler of NNI whose costs are sums, such as ``FlopsProfiler(space,
        inputs)``, or a ``LatencyTable``. By default the number of its parameters.
    filter, **kwargs
        See :class:`nni_magic.strategies.base.SupernetStrategy`.

    Raises
    ------
    TypeError
        If the cost is no profiler.
    ValueError
        If a profiler's costs are no sum.
    """

    def __init__(self, filter: Any = None, *, cost: Profiler | None = None, **kwargs: Any) -> None:
        if cost is not None and not isinstance(cost, Profiler):
            raise TypeError(
                f"cost is {cost!r}; accepted are profilers of NNI, such as FlopsProfiler(space, "
                "inputs), and None for the number of parameters"
            )
        super().__init__(filter, **kwargs)
        self.cost = None if cost is None else tabulated(cost)
        if self.cost is not None and not isinstance(self.cost, CostSum):
            raise ValueError(
                f"cost is a {type(cost).__name__}, whose costs are no sum over choices; accepted "
                "are FlopsProfiler, NumParamsProfiler, a LatencyTable and the like"
            )

    def cost_in(self, space: ModelSpace) -> CostSum:
        """The cost of the children of a space, before it becomes a supernet.

        Raises
        ------
        ValueError
            If the cost is of another space, or none is given and parameters cannot be told by
            choices.
        """
        if self.cost is not None:
            with naming("cost"):
                self.cost.check_covers(candidates(space))
            return self.cost
        cost = parameter_cost(space)
        ends = [cost.extreme_sample(candidates(space), largest=each) for each in (True, False)]
        check_parameters(space, cost, [child for child in ends if child is not None])
        return cost
