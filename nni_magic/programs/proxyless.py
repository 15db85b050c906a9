"""Train a ProxylessNAS supernet, search under a budget, train and test the best child: one trial.

``nnictl create --config experiments/proxyless_digits.yml`` starts one trial per strategy. Alone,
without a manager, the same program trains one supernet, and continues it when it is started
again::

    python -m nni_magic.programs.proxyless --strategy magic_at --output runs/digits
    python -m nni_magic.programs.proxyless --strategy spos --dataset fashion_mnist --output runs/fashion

Children are scored on images held out of the training set. The best one is trained from scratch
on those that trained the supernet, and the test set is touched once, by this child.
"""

from __future__ import annotations

import argparse

from ..tasks.vision.proxyless import Proxyless, add_options, check_settings
from .options import Parser
from .strategy_trial import add_search_options, run_trial

__all__ = ["parse_args"]


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the settings; a parameter that the tuner gives replaces the setting of its name."""
    parser = Parser(__doc__)
    add_options(parser)
    add_search_options(parser, retrain_epochs=5)
    return parser.parse_args(arguments)


def main() -> None:
    """Run one trial."""
    run_trial(parse_args, check_settings, Proxyless)


if __name__ == "__main__":
    main()
