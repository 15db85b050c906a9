"""Errors that name a setting, its value and what is accepted, and say where they come from."""

import contextlib
import math
import numbers
import sys
from collections.abc import Collection, Iterator
from typing import Any

__all__ = [
    "RankError", "among", "check_choice", "check_count", "check_flag", "check_number", "check_seed",
    "is_finite", "naming", "one_clear_message",
]  # fmt: skip


class RankError(RuntimeError):
    """Another process of a distributed training has failed, or does not answer."""


def check_count(name: str, value: Any, *, at_least: int = 1, at_most: float = math.inf) -> None:
    """Raise a ``ValueError`` unless a setting is a whole number within bounds.

    ``True`` is none, though Python counts with it: it is a slip of the hand.

    Examples
    --------
    >>> check_count("k", 0)
    Traceback (most recent call last):
    ValueError: k is 0; accepted are whole numbers of at least 1
    """
    is_whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not is_whole or not at_least <= value <= at_most:
        unbounded = at_most == math.inf
        bounds = f"of at least {at_least}" if unbounded else f"from {at_least} to {at_most}"
        raise ValueError(f"{name} is {value!r}; accepted are whole numbers {bounds}")


def check_seed(name: str, value: Any) -> None:
    """Raise a ``ValueError`` unless a setting seeds numpy: whole numbers from 0, one or several.

    ``None``, with which numpy draws a seed that nobody knows, is none.

    Examples
    --------
    >>> check_seed("seed", [0, 1])
    >>> check_seed("seed", -1)
    Traceback (most recent call last):
    ValueError: seed is -1; accepted are whole numbers of at least 0
    """
    several = value if isinstance(value, (list, tuple)) and value else [value]
    for each in several:
        check_count(name, each, at_least=0)


def check_flag(name: str, value: Any) -> None:
    """Raise a ``ValueError`` unless a setting is ``True`` or ``False``; a number is neither.

    Examples
    --------
    >>> check_flag("lazy", 1)
    Traceback (most recent call last):
    ValueError: lazy is 1; accepted are true and false
    """
    if not isinstance(value, bool):
        raise ValueError(f"{name} is {value!r}; accepted are true and false")


def check_number(
    name: str,
    value: Any,
    *,
    at_least: float = -math.inf,
    at_most: float = math.inf,
    above: float = -math.inf,
    below: float = math.inf,
) -> None:
    """Raise a ``ValueError`` unless a setting is a finite number within bounds.

    Examples
    --------
    >>> check_number("percentile", 101, at_least=0, at_most=100)
    Traceback (most recent call last):
    ValueError: percentile is 101; accepted are numbers from 0 to 100
    >>> check_number("learning_rate", float("nan"), above=0)
    Traceback (most recent call last):
    ValueError: learning_rate is nan; accepted are finite numbers above 0
    >>> check_number("dropout", 1.0, at_least=0, below=1)
    Traceback (most recent call last):
    ValueError: dropout is 1.0; accepted are finite numbers of at least 0 and below 1
    """
    if is_finite(value) and at_least <= value <= at_most and above < value < below:
        return
    if math.isfinite(at_least) and math.isfinite(at_most):
        accepted = f"numbers from {at_least:g} to {at_most:g}"
    else:
        words = {"of at least": at_least, "above": above, "of at most": at_most, "below": below}
        bounds = [f"{word} {bound:g}" for word, bound in words.items() if math.isfinite(bound)]
        accepted = f"finite numbers {' and '.join(bounds)}".rstrip()
    raise ValueError(f"{name} is {value!r}; accepted are {accepted}")


def is_finite(value: Any) -> bool:
    """Tell whether a value is a finite number; ``True`` is none."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return False
    if isinstance(value, numbers.Rational) and not isinstance(value, numbers.Integral):
        return False  # a fraction, which torch and numpy do not know
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number that no float can hold
        return False


def among(value: Any, accepted: Collection[Any]) -> bool:
    """Tell whether a value is one of some, whatever it is."""
    try:
        return value in accepted
    except (TypeError, ValueError, RuntimeError):  # it has no hash, or is an array or a tensor
        return False


def check_choice(name: str, value: Any, accepted: Collection[Any]) -> None:
    """Raise a ``ValueError`` unless a setting is one of some values.

    Examples
    --------
    >>> check_choice("mode", "best", ("min", "max"))
    Traceback (most recent call last):
    ValueError: mode is 'best'; accepted are 'min', 'max'
    """
    if not among(value, accepted):
        raise ValueError(f"{name} is {value!r}; accepted are {', '.join(map(repr, accepted))}")


@contextlib.contextmanager
def naming(name: str) -> Iterator[None]:
    """Put a name before the message of a ``ValueError`` of the block.

    Examples
    --------
    >>> with naming("supernet 'spos'"):
    ...     raise ValueError("scores[2] is nan")
    Traceback (most recent call last):
    ValueError: supernet 'spos': scores[2] is nan
    """
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


@contextlib.contextmanager
def one_clear_message(*, elsewhere: bool = False) -> Iterator[None]:
    """End a program on a user's mistake, or one of the system's, with one line and status 1.

    The line goes where the program's output goes, or ``elsewhere``, to the standard error.

    Other errors keep their traceback. NNI copies what a trial prints into its log, and shows the
    trial as *failed*.
    """
    try:
        yield
    except (ValueError, TypeError, OSError, ModuleNotFoundError, RankError) as error:
        if isinstance(error, ModuleNotFoundError) and "pip install" not in str(error):
            raise
        print(f"error: {error}", flush=True, file=sys.stderr if elsewhere else sys.stdout)
        sys.exit(1)
