"""Build frozen dataclasses from settings that were read from a YAML file."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar

from jsonargparse import ArgumentError, ArgumentParser

from nni_magic.support.errors import check_choice, naming

__all__ = ["made"]

Kind = TypeVar("Kind")


def made(kind: type[Kind], settings: Any, name: str, **sections: Any) -> Kind:
    """Build a dataclass from settings.

    Parameters
    ----------
    kind
        The dataclass. What it refuses when it is made, it names by itself.
    settings
        Its fields by name.
    name
        What errors call the settings.
    **sections
        Fields that are made already.

    Raises
    ------
    ValueError
        If settings are missing, unknown, of another type, or refused.

    Examples
    --------
    >>> @dataclasses.dataclass
    ... class Schedule:
    ...     steps: int
    >>> made(Schedule, {"steps": 3}, "training")
    Schedule(steps=3)
    >>> made(Schedule, {"steps": "many"}, "training")
    Traceback (most recent call last):
    ValueError: training: steps is 'many'; accepted are values of type int
    """
    known = {one.name: one for one in dataclasses.fields(kind)}  # type: ignore[arg-type]
    fields = {key: one for key, one in known.items() if key not in sections}
    with naming(name):
        if not isinstance(settings, Mapping):
            raise ValueError(f"the settings are {settings!r}; accepted are {', '.join(fields)}")
        for key in settings:
            check_choice("a setting", key, fields)
        for key, field in fields.items():
            if settings.get(key) is None and _is_required(field):
                raise ValueError(f"{key} is missing; accepted are values of type {field.type}")
        try:
            parser = _parser(kind, *sections)  # type: ignore[arg-type]
            parsed = parser.parse_object(dict(settings)).as_dict()
        except ArgumentError as error:
            raise _of_type(error, settings, fields) from None
        return kind(**parsed, **sections)


@cache
def _parser(kind: type, *made_already: str) -> ArgumentParser:
    """Build the parser of a dataclass, once: it takes much longer than to use it."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(kind, skip=set(made_already))
    return parser


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.default is field.default_factory is dataclasses.MISSING


def _of_type(
    error: ArgumentError, settings: Mapping[str, Any], fields: Mapping[str, Any]
) -> ValueError:
    """Say what the parser refuses in the words of all other errors."""
    found = re.match(r'Parser key "(\w+)"', str(error))
    if found is None:
        return ValueError(str(error))
    key = found[1]
    return ValueError(f"{key} is {settings[key]!r}; accepted are values of type {fields[key].type}")
