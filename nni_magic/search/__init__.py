"""Search the children of a trained supernet."""

from .. import compat

compat.load_torchvision()
compat.import_nni_quietly()

from .evaluation import ChildEvaluator  # noqa: E402
from .evolution import Evolution  # noqa: E402
from .latency import LatencyTable  # noqa: E402
from .pareto import ParetoFront, pareto_search  # noqa: E402
from .population import Population  # noqa: E402
from .shrinking import ProgressiveShrinking  # noqa: E402

__all__ = [
    "ChildEvaluator", "Evolution", "LatencyTable", "ParetoFront", "Population",
    "ProgressiveShrinking", "pareto_search",
]  # fmt: skip
