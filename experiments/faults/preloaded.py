"""Everything that a run imports; see :mod:`experiments.faults.processes`."""

import nni_bootstrap  # noqa: F401
import torch

from nni_magic.programs import pareto, pipeline, score, search_space, train  # noqa: F401
from nni_magic.strategies.registry import METHODS
from nni_magic.tasks.registry import TASKS

torch.set_num_threads(1)
for _method in METHODS.values():
    _method.load()
for _task in TASKS.values():
    _task.load()
