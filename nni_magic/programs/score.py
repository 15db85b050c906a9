"""Score one child of a trained supernet: the trial for a search by NNI's own tuners.

::

    nni-magic search-space --checkpoint supernet.ckpt > search_space.json

writes the search space; with ``searchSpaceFile: search_space.json`` and ``nni-magic score bert
--checkpoint supernet.ckpt`` as the trial command, TPE, Evolution, Random or any other tuner of NNI
searches the children, minimizing. Each trial starts a process for a single child, which takes most
of its time: the searches of ``nni_magic.search`` score hundreds meanwhile.
"""

from __future__ import annotations

from ..manager.trial import ManagedTrial
from ..supernet.checkpoint import load_supernet, require_file
from ..tasks.registry import Task
from .settings import ScoreSettings

__all__ = ["run_trial", "score"]


def score(task: Task, settings: ScoreSettings, trial: ManagedTrial) -> float:
    """Validation loss of the child that the tuner chose, with inherited weights."""
    require_file(settings.checkpoint)  # before data are read
    domain = task.load()(settings.task)
    supernet = load_supernet(settings.checkpoint, domain.make_space())
    return domain.child_evaluator(supernet)([trial.parameters])[0]


def run_trial(task: Task, settings: ScoreSettings) -> None:
    """Report the score of the child that the tuner chose."""
    trial = ManagedTrial()
    trial.report_final(score(task, settings, trial))
