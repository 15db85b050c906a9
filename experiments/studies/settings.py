"""Build dataclasses from settings that were read from a YAML file."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

import typeguard

__all__ = ["check_least", "made"]

Kind = TypeVar("Kind")


def made(kind: type[Kind], settings: Any, name: str) -> Kind:
    """Build a dataclass from settings; lists become tuples.

    Parameters
    ----------
    kind
        The dataclass.
    settings
        Its fields by name.
    name
        What errors call the settings.

    Raises
    ------
    ValueError
        If settings are missing, unknown, or of another type.

    Examples
    --------
    >>> @dataclasses.dataclass
    ... class Schedule:
    ...     steps: int
    >>> made(Schedule, {"steps": 3}, "training")
    Schedule(steps=3)
    >>> made(Schedule, {"steps": "3e3"}, "training")
    Traceback (most recent call last):
    ValueError: training: steps is '3e3'; its type must be int
    """
    if not isinstance(settings, Mapping):
        raise ValueError(f"{name}: the settings are missing")
    known = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    if unknown := sorted(settings.keys() - known.keys()):
        raise ValueError(f"{name}: {unknown[0]!r} is unknown; accepted are {', '.join(known)}")
    required = [
        key
        for key, field in known.items()
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    if missing := [key for key in required if key not in settings]:
        raise ValueError(f"{name}: {missing[0]!r} is missing")
    given = {k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()}
    types = typing.get_type_hints(kind)
    for key, value in given.items():
        try:
            typeguard.check_type(value, types[key])
        except typeguard.TypeCheckError:
            raise ValueError(
                f"{name}: {key} is {settings[key]!r}; its type must be {known[key].type}"
            ) from None
    return kind(**given)


def check_least(name: str, least: Mapping[str, float], settings: object) -> None:
    """Make sure that settings are at least so large.

    Raises
    ------
    ValueError
        If one is not.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> check_least("training", {"batch_size": 1}, SimpleNamespace(batch_size=0))
    Traceback (most recent call last):
    ValueError: training: batch_size is 0; it must be at least 1
    """
    for key, bound in least.items():
        if not (value := getattr(settings, key)) >= bound:
            raise ValueError(f"{name}: {key} is {value}; it must be at least {bound}")
