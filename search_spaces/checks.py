"""Errors of the search spaces: each names an argument, its value and what is accepted."""

from __future__ import annotations

from collections.abc import Collection, Sequence

__all__ = ["check_dropout", "check_names", "check_preset", "check_sizes"]


def check_sizes(**sizes: int) -> None:
    """Raise a ``ValueError`` unless all sizes are whole numbers of at least 1.

    Examples
    --------
    >>> check_sizes(hidden=64, n_layers=0)
    Traceback (most recent call last):
    ValueError: n_layers is 0; accepted are whole numbers of at least 1
    """
    for name, size in sizes.items():
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise ValueError(f"{name} is {size!r}; accepted are whole numbers of at least 1")


def check_dropout(dropout: float) -> None:
    """Raise a ``ValueError`` unless a dropout is a probability below 1.

    Examples
    --------
    >>> check_dropout(1.0)
    Traceback (most recent call last):
    ValueError: dropout is 1.0; accepted are numbers from 0 to below 1
    """
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout is {dropout!r}; accepted are numbers from 0 to below 1")


def check_names(name: str, names: Sequence[str]) -> None:
    """Raise an error unless names are one or more in a sequence, all different.

    Raises
    ------
    TypeError
        If they are one string.
    ValueError
        If there are none, or one is repeated.

    Examples
    --------
    >>> check_names("candidates", ("ffn", "ffn"))
    Traceback (most recent call last):
    ValueError: candidates is ('ffn', 'ffn'); accepted are one or more names that differ
    """
    if isinstance(names, str):
        raise TypeError(f"{name} is {names!r}; accepted are sequences of names, not one string")
    if not names or len(set(names)) < len(names):
        raise ValueError(f"{name} is {names!r}; accepted are one or more names that differ")


def check_preset(name: str, presets: Collection[str]) -> None:
    """Raise a ``ValueError`` unless there is a preset of that name.

    Examples
    --------
    >>> check_preset("huge", ("base", "tiny"))
    Traceback (most recent call last):
    ValueError: preset is 'huge'; accepted are 'base', 'tiny'
    """
    if name not in presets:
        raise ValueError(f"preset is {name!r}; accepted are {', '.join(map(repr, presets))}")
