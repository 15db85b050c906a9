"""Score one child of a trained BERT supernet: the trial for a search by NNI's own tuners.

::

    python -m nni_magic.manager.space --checkpoint supernet.ckpt > search_space.json

writes the search space; with ``searchSpaceFile: search_space.json`` and this program as the trial
command, TPE, Evolution, Random or any other tuner of NNI searches the children, minimizing. Each
trial starts a process for a single child, which takes most of its time: the searches of
``nni_magic.search`` score hundreds meanwhile.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ..manager.trial import ManagedTrial, one_clear_message
from ..supernet.checkpoint import load_supernet
from ..tasks.language.bert import Bert, add_options, check_settings
from .options import Parser


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the settings, which are those of the supernet's training."""
    parser = Parser(__doc__)
    add_options(parser)
    parser.add_argument("--checkpoint", type=Path, required=True, help="the supernet's")
    settings = parser.parse_args(arguments)
    settings.strategy = settings.strategy or "spos"  # of no meaning here
    check_settings(settings)
    return settings


def score(settings: argparse.Namespace, trial: ManagedTrial) -> float:
    """Validation loss of the child that the tuner chose, with inherited weights."""
    domain = Bert(settings)
    supernet = load_supernet(settings.checkpoint, domain.make_space())
    return domain.child_evaluator(supernet)([trial.parameters])[0]


def main() -> None:
    """Run one trial."""
    with one_clear_message():
        settings = parse_args()
        trial = ManagedTrial()
        trial.report_final(score(settings, trial))


if __name__ == "__main__":
    main()
