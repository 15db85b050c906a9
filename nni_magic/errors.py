"""Errors that say where they come from."""

import contextlib
from collections.abc import Iterator

__all__ = ["naming"]


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
