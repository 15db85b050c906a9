"""Errors that say where they come from, and the check that most settings need."""

import contextlib
from collections.abc import Iterator
from typing import Any

__all__ = ["check_count", "naming"]


def check_count(name: str, value: Any, *, at_least: int = 1) -> None:
    """Raise a ``ValueError`` unless a setting is a whole number, and large enough.

    ``True`` is none, though Python counts with it: it is a slip of the hand.

    Examples
    --------
    >>> check_count("k", 0)
    Traceback (most recent call last):
    ValueError: k is 0; it must be a whole number of at least 1
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < at_least:
        raise ValueError(f"{name} is {value!r}; it must be a whole number of at least {at_least}")


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
