"""Train a BERT supernet on text, then search its children: one trial of an ``nnictl`` experiment.

``nnictl create --config experiments/bert_strategies.yml`` starts one trial per strategy. Alone,
without a manager, the same program trains one supernet, and continues it when it is started
again::

    python -m nni_magic.programs.bert --strategy magic_at --output runs/magic_at
"""

from __future__ import annotations

import argparse

from ..tasks.language.bert import Bert, add_options, check_settings
from .options import Parser
from .strategy_trial import add_search_options, run_trial

__all__ = ["parse_args"]


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the settings; a parameter that the tuner gives replaces the setting of its name."""
    parser = Parser(__doc__)
    add_options(parser)
    add_search_options(parser)
    return parser.parse_args(arguments)


def main() -> None:
    """Run one trial."""
    run_trial(parse_args, check_settings, Bert)


if __name__ == "__main__":
    main()
