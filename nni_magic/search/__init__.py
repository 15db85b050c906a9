"""Search the children of a trained supernet."""

import nni_bootstrap  # noqa: F401

from .evaluation import ChildEvaluator, ChildScores
from .evolution import Evolution
from .front import ParetoFront
from .latency import LatencyTable
from .pareto import pareto_search
from .population import Population
from .prediction import PredictorSearch
from .shrinking import ProgressiveShrinking

__all__ = [
    "ChildEvaluator", "ChildScores", "Evolution", "LatencyTable", "ParetoFront", "Population",
    "PredictorSearch", "ProgressiveShrinking", "pareto_search",
]  # fmt: skip
