"""Types of settings: whether a value is of an annotated type, and the type in words."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import cache
from numbers import Integral
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from .errors import is_finite

__all__ = ["check_kinds", "fits", "in_words"]

_WORDS = {
    int: "whole numbers", float: "finite numbers", bool: "true and false", str: "text",
    Path: "paths", NoneType: "None",
}  # fmt: skip


def check_kinds(settings: Any) -> None:
    """Make sure that every field of a dataclass holds a value of its annotated type.

    Raises
    ------
    ValueError
        Naming the first one that does not, its value and what is accepted.

    Examples
    --------
    >>> @dataclasses.dataclass
    ... class Walk:
    ...     lazy: bool
    >>> check_kinds(Walk(lazy=1))
    Traceback (most recent call last):
    ValueError: lazy is 1; accepted are true and false
    """
    kind: type = type(settings)
    for name, hint in _hints(kind).items():
        if not fits(value := getattr(settings, name), hint):
            is_huge = isinstance(value, Integral) and abs(int(value)) >= 2**63
            words = f"{in_words(hint)}{' below 2**63' if is_huge else ''}"
            raise ValueError(f"{name} is {value!r}; accepted are {words}")


@cache
def _hints(kind: type) -> dict[str, Any]:
    try:
        hints = get_type_hints(kind)
    except NameError:  # a type that only a type checker imports, in settings of the user's own
        return {}
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def fits(value: Any, hint: Any) -> bool:
    """Tell whether a value is of an annotated type.

    Numbers of numpy are numbers, ``True`` is none, and those that are not finite are none either,
    nor whole ones that do not fit into 64 bits.
    Text is not blank, and where several values are taken there is one at least.

    Examples
    --------
    >>> fits(1, float), fits(True, int), fits("", str), fits([1, "a"], Sequence[int | str])
    (True, False, False, True)
    """
    kind, of = get_origin(hint) or hint, get_args(hint)
    if kind is Any:
        return True
    if kind in (Union, UnionType):
        return any(fits(value, each) for each in of)
    if kind is Literal:
        return isinstance(value, str) and value in of
    if kind in (tuple, Sequence):
        several = isinstance(value, Sequence) and not isinstance(value, (str, bytes))
        return several and len(value) > 0 and all(fits(each, of[0]) for each in value)
    if kind is float:
        return is_finite(value)
    if kind is int:
        whole = isinstance(value, Integral) and not isinstance(value, bool)
        return whole and abs(int(value)) < 2**63
    return isinstance(value, kind) and (kind is not str or value.strip() != "")


def in_words(hint: Any) -> str:
    """Say what values of an annotated type are.

    Examples
    --------
    >>> in_words(int | None), in_words(Literal["min", "max"]), in_words(tuple[str, ...])
    ('whole numbers or None', "'min', 'max'", 'lists of text')
    """
    kind, of = get_origin(hint) or hint, get_args(hint)
    if kind is Literal:
        return ", ".join(map(repr, of))
    if kind in (Union, UnionType):
        return " or ".join(map(in_words, of))
    if kind in (tuple, Sequence):
        return f"lists of {in_words(of[0])}"
    if kind is Mapping:
        return "mappings"
    return _WORDS.get(kind, f"{kind.__name__} objects")
