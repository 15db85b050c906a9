"""Options of a command line, made from the fields of dataclasses and their docstrings."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from docstring_parser import DocstringStyle, parse
from jsonargparse import SUPPRESS

from ..strategies.registry import METHODS
from ..support.kinds import in_words

__all__ = ["Option", "own_options", "strategy_options"]


@dataclass(frozen=True)
class Option:
    """An option of a command line, which is a setting of a dataclass.

    Parameters
    ----------
    name
        Name of the setting.
    hint
        Its type, as annotated.
    help
        Its description, with the default.
    group
        Title under which ``--help`` shows it.
    required
        Whether there is no default.
    positional
        Whether it is given without its name.
    """

    name: str
    hint: Any
    help: str
    group: str
    required: bool = False
    positional: bool = False

    @property
    def kinds(self) -> tuple[Any, ...]:
        """The types that the hint allows, without ``None``."""
        union = get_origin(self.hint) in (Union, UnionType)
        kinds = get_args(self.hint) if union else (self.hint,)
        return tuple(kind for kind in kinds if kind is not NoneType)

    @property
    def element(self) -> Any:
        """Type of the elements if it takes several values, or else ``None``."""
        [kind, *others] = self.kinds
        is_sequence = get_origin(kind) in (tuple, Sequence) and not others
        return get_args(kind)[0] if is_sequence else None

    def add_to(self, group: Any) -> None:
        """Add the option to a parser or one of its groups; no default enters what is parsed."""
        kind = {"type": self.hint}
        if self.element is not None:
            kind = {"type": self.element, "nargs": "+"}
        elif self.hint is bool:
            kind |= {"nargs": "?", "const": True}
        elif self.positional:
            kind |= {"nargs": "?"}
        flag = self.name if self.positional else f"--{self.name.replace('_', '-')}"
        group.add_argument(flag, default=SUPPRESS, help=self.help, **kind)

    def prepared(self, value: Any) -> Any:
        """Prepare a value of a YAML file or a tuner for jsonargparse."""
        if self.element is not None and value is not None:
            return list(value) if isinstance(value, (list, tuple)) else [value]
        if int in self.kinds and isinstance(value, float) and value.is_integer():
            return int(value)
        is_text = self.kinds == (str,) or get_origin(self.kinds[0]) is Literal
        if is_text and type(value) in (int, float):  # such as a precision of 32
            return str(value)
        if self.hint is bool and not isinstance(value, bool):
            raise self.refusal(value)
        return value

    def frozen(self, value: Any) -> Any:
        """Make a tuple of several values, so that settings cannot change."""
        return tuple(value) if isinstance(value, list) else value

    def refusal(self, value: Any) -> ValueError:
        """Make an error that names the setting, a value and what is accepted."""
        kinds = self.kinds if self.element is None else (self.element,)
        words = " or ".join(dict.fromkeys(in_words(kind) for kind in kinds))
        return ValueError(f"{self.name} is {value!r}; accepted are {words}")


@cache
def own_options(kind: type) -> dict[str, Option]:
    """Options of a dataclass, one for each field that has a plain type."""
    hints, help = get_type_hints(kind), _documented(kind)
    found = {}
    for field in dataclasses.fields(kind):
        if field.default_factory is MISSING and not dataclasses.is_dataclass(hints[field.name]):
            text = help[field.name]
            found[field.name] = Option(
                field.name, hints[field.name], _with_default(text, {field.default: []}),
                _owner(kind, field.name), field.default is MISSING,
                bool(field.metadata.get("positional")),
            )  # fmt: skip
    return found


@cache
def strategy_options() -> dict[str, Option]:
    """Options of all strategies, one for each name; the help tells which strategies have it."""
    rows: dict[str, dict[str, dataclasses.Field]] = {}
    for row in METHODS.values():
        for field in dataclasses.fields(row.settings):
            rows.setdefault(field.name, {})[row.name] = field
    found = {}
    for name, fields in rows.items():
        first = METHODS[next(iter(fields))].settings
        defaults: dict[Any, list[str]] = {}
        for method, field in fields.items():
            defaults.setdefault(field.default, []).append(method)
        whose = "" if len(fields) == len(METHODS) else f" [{', '.join(fields)}]"
        text = _with_default(_documented(first)[name], defaults) + whose
        found[name] = Option(name, get_type_hints(first)[name], text, "Settings of the strategies")
    return found


def _with_default(text: str, defaults: Mapping[Any, Sequence[str]]) -> str:
    """Help with the default, or with each default and the methods that have it."""
    told = [
        _as_given(default) + (f" ({', '.join(methods)})" if len(defaults) > 1 else "")
        for default, methods in defaults.items()
        if default is not None and default is not MISSING
    ]
    return f"{text.rstrip('.')} (default: {'; '.join(told)})" if told else text


def _as_given(default: Any) -> str:
    if isinstance(default, tuple):
        return " ".join(map(str, default))
    return str(default).lower() if isinstance(default, bool) else str(default)


def _owner(kind: type, name: str) -> str:
    """Title of the class that introduces a field."""
    owners = [base for base in kind.__mro__ if name in inspect.get_annotations(base)]
    return _without_markup(parse(owners[-1].__doc__ or "").short_description or "").rstrip(".")


def _documented(kind: type) -> dict[str, str]:
    """Descriptions of a dataclass's fields from its docstring and those of its bases."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        parsed = parse(base.__doc__ or "", DocstringStyle.NUMPYDOC)
        for parameter in parsed.params:
            words = _without_markup(parameter.description or "")
            for name in parameter.arg_name.split(", "):
                found[name] = words
    return found


def _without_markup(text: str) -> str:
    """A docstring's words without its markup.

    >>> _without_markup("Its ``key``, see :mod:`nni_magic.tasks`.")
    'Its key, see nni_magic.tasks.'
    """
    return re.sub(r":\w+:`|`", "", " ".join(text.split()))
