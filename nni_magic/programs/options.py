"""The command line that the programs of text and of images share."""

from __future__ import annotations

import argparse
from collections.abc import Collection
from pathlib import Path
from typing import Any, NoReturn

from .. import strategies

STRATEGIES = {
    "spos": strategies.SPOS,
    "magic_t": strategies.MagicT,
    "magic_a": strategies.MagicA,
    "magic_at": strategies.MagicAT,
}


class Parser(argparse.ArgumentParser):
    """A parser whose errors are exceptions, so that a trial ends with one clear line."""

    def __init__(self, description: str | None) -> None:
        super().__init__(
            description=description, formatter_class=argparse.RawDescriptionHelpFormatter
        )

    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what the training of a supernet needs, whatever the space and the data."""
    add = parser.add_argument
    add("--strategy", help=f"one of {', '.join(STRATEGIES)}")
    add("--seed", type=int, default=0)

    train = parser.add_argument_group("training")
    train.add_argument("--epochs", type=int, default=5)
    train.add_argument("--epoch-steps", type=int, default=100, help="optimizer steps in an epoch")
    train.add_argument("--batch-size", type=int, default=32, help="rows on one device")
    train.add_argument("--accumulate", type=int, default=1, help="batches for an optimizer step")
    train.add_argument("--learning-rate", type=float, default=3e-3)
    train.add_argument("--warmup-steps", type=int, default=80)
    train.add_argument("--weight-decay", type=float, default=0.01)
    train.add_argument("--workers", type=int, default=0, help="processes that load data")
    train.add_argument("--threads", type=int, default=0, help="of torch on the CPU; 0: its choice")
    train.add_argument("--devices", default="auto")
    train.add_argument("--precision", default="32-true")
    train.add_argument("--distributed", default="auto", help="Lightning's strategy, e.g. for DDP")
    train.add_argument(
        "--sync-batchnorm",
        action="store_true",
        help="take BatchNorm's statistics over the batches of all devices",
    )

    method = parser.add_argument_group("method")
    method.add_argument("--k", type=int, default=1)
    method.add_argument("--alignment-weight", type=float, default=0.5)
    method.add_argument("--align-every", type=int, default=4)
    method.add_argument("--warmup-epochs", type=int, default=2, help="before there is an anchor")
    method.add_argument("--anchor-interval", type=int, default=100)
    method.add_argument(
        "--n-drop",
        type=int,
        default=0,
        help="candidates deleted after an epoch (progressive shrinking); 0: none",
    )
    method.add_argument(
        "--evaluations",
        type=int,
        default=1000,
        help="children scored after an epoch when shrinking",
    )
    method.add_argument(
        "--search-batches", type=int, default=4, help="validation batches that score a child"
    )


def add_retraining_options(parser: argparse.ArgumentParser, epochs: int) -> None:
    """Add what the training of a found child from scratch needs."""
    retrain = parser.add_argument_group("retraining")
    retrain.add_argument("--retrain-epochs", type=int, default=epochs, help="of a found child")
    retrain.add_argument(
        "--retrain-learning-rate", type=float, help="by default that of the supernet"
    )


def check_names(settings: argparse.Namespace, **known: Collection[str]) -> None:
    """Make sure that the names in the settings are known.

    Raises
    ------
    ValueError
        Naming the first one that is not.
    """
    for name, accepted in known.items():
        if (value := getattr(settings, name)) not in accepted:
            raise ValueError(f"{name} is {value!r}; accepted are {', '.join(accepted)}")


def plain(settings: argparse.Namespace) -> dict[str, Any]:
    """Settings in types that JSON knows: paths, also in lists, become text.

    >>> plain(argparse.Namespace(runs=[Path("a"), Path("b")], seed=1))
    {'runs': ['a', 'b'], 'seed': 1}
    """
    return {name: _as_text(value) for name, value in vars(settings).items()}


def _as_text(value: Any) -> Any:
    if isinstance(value, list):
        return [_as_text(one) for one in value]
    return str(value) if isinstance(value, Path) else value
