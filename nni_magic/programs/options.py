"""Read a program's settings from a command line, a YAML file and a tuner's parameters.

Every setting of the program's concerns is an option of one flat name, and so is every setting of
every strategy: a new row in :mod:`nni_magic.strategies.registry` brings its options along. The
types are those of the dataclasses, and jsonargparse checks them; the dataclasses check the values.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from jsonargparse import SUPPRESS, ArgumentError, ArgumentParser

from ..strategies.registry import METHODS
from ..support.errors import naming
from ..support.yaml_files import read_settings
from ..tasks.settings import TaskSettings
from .concerns import Supernet
from .fields import Option, own_options, strategy_options

__all__ = ["flat", "plain", "read", "replaced", "settings_options", "typed", "typed_settings"]

Settings = TypeVar("Settings")
_Options = Mapping[str, Option]


def read(
    kind: type[Settings],
    words: Sequence[str],
    task: type[TaskSettings] = TaskSettings,
    *,
    prog: str = "nni-magic",
    description: str = "",
) -> Settings:
    """Read the settings of a program.

    Parameters
    ----------
    kind
        Class of the settings. Its fields that are dataclasses are concerns.
    words
        The command line. ``--config FILE`` reads a YAML file first.
    task
        Class of the task's settings.
    prog, description
        For ``--help``, which prints and ends the program.

    Raises
    ------
    ValueError
        If an option is unknown or its value is not accepted, or one is missing.
    """
    options = settings_options(kind, task)
    positional = [f"[{option.name}]" for option in options.values() if option.positional]
    usage = " ".join([prog, *positional, "[--option value ...]"])
    parser = _parser(options.values(), prog=prog, usage=usage, description=description)
    parser.add_argument("--config", type=Path, default=SUPPRESS, help="YAML file of settings")
    given = _parsed(parser, words, options)
    if (path := given.pop("config", None)) is not None:
        settings = read_settings("config", path)
        with naming(f"config {str(path)!r}"):
            named = {str(name).replace("-", "_"): value for name, value in settings.items()}
            given = typed(named, options) | given
    if missing := [o.name for o in options.values() if o.required and o.name not in given]:
        name = missing[0].replace("_", "-")
        raise ValueError(f"{missing[0]} is missing; it is given as --{name}")
    return _built(kind, given, task)


def replaced(settings: Settings, parameters: Mapping[str, Any]) -> Settings:
    """Let what the tuner chose replace the settings of the same names.

    Parameters
    ----------
    settings
        Settings from the command line.
    parameters
        What the tuner chose, by flat names.

    Raises
    ------
    ValueError
        If a parameter is no setting or not of its type, or a value is not accepted.
    """
    task = getattr(settings, "task", None)
    given = typed(parameters, settings_options(type(settings), type(task)))
    changes: dict[str, Any] = {}
    for field in dataclasses.fields(settings):  # type: ignore[arg-type]
        part = getattr(settings, field.name)
        if isinstance(part, Supernet):
            changes[field.name] = _of_supernet(part, given, type(task))
        elif dataclasses.is_dataclass(part):
            own = {f.name: given[f.name] for f in dataclasses.fields(part) if f.name in given}
            changes[field.name] = dataclasses.replace(part, **own)  # type: ignore[type-var]
        elif field.name in given:
            changes[field.name] = given[field.name]
    return dataclasses.replace(settings, **changes)  # type: ignore[type-var]


def typed(values: Mapping[str, Any], options: _Options) -> dict[str, Any]:
    """Give values the types of their settings, or refuse them.

    Numbers may be text, such as what YAML makes of ``5e-4``, and whole ones may have a point, as
    NNI's ``quniform`` gives them.

    Raises
    ------
    ValueError
        Naming the first one that is no setting or not of its type.
    """
    found = {}
    for name, value in values.items():
        if name not in options:
            raise ValueError(f"setting is {name!r}; accepted are {', '.join(sorted(options))}")
        option = options[name]
        found[name] = option.frozen(_typed(option, option.prepared(value)))
    return found


def typed_settings(kind: type[Settings], values: Mapping[str, Any]) -> Settings:
    """Make settings of one concern, such as a task's, from values by name; see :func:`typed`."""
    return kind(**typed(values, settings_options(kind, kind)))


def flat(settings: Any) -> dict[str, Any]:
    """All settings by their flat names, the strategy's as they take effect."""
    found: dict[str, Any] = {}
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if isinstance(value, Supernet):
            effective = dataclasses.asdict(value.settings_for(settings.task))
            found |= {"strategy": value.strategy, **effective}
        elif dataclasses.is_dataclass(value):
            found |= flat(value)
        else:
            found[field.name] = value
    return found


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings in types that JSON knows: paths become text, also in lists.

    >>> plain({"runs": [Path("a"), Path("b")], "seed": 1})
    {'runs': ['a', 'b'], 'seed': 1}
    """
    return {name: _as_text(value) for name, value in values.items()}


def _as_text(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_as_text(one) for one in value]
    return str(value) if isinstance(value, Path) else value


def settings_options(kind: type, task: type) -> dict[str, Option]:
    """All options of a program by name, in the order of its concerns."""
    found: dict[str, Option] = {}
    for name, hint in _parts(kind, task).items():
        if dataclasses.is_dataclass(hint):
            found |= own_options(hint)  # type: ignore[arg-type]
            if hint is Supernet:
                found["strategy"] = dataclasses.replace(found["strategy"], help=_methods())
                found |= _of_strategies(task)
        else:
            found[name] = own_options(kind)[name]
    return found


def _of_strategies(task: type) -> dict[str, Option]:
    """Options of the strategies, without those that are the task's as well."""
    shared = {field.name for field in dataclasses.fields(task)}
    return {name: o for name, o in strategy_options().items() if name not in shared}


def _methods() -> str:
    return "; ".join(f"{row.name}: {row.summary}" for row in METHODS.values()).replace("`", "")


def _parts(kind: type, task: type) -> dict[str, Any]:
    return {name: task if name == "task" else hint for name, hint in get_type_hints(kind).items()}


def _built(kind: type[Settings], given: Mapping[str, Any], task: type) -> Settings:
    parts: dict[str, Any] = {}
    for name, hint in _parts(kind, task).items():
        if hint is Supernet:
            parts[name] = _of_supernet(Supernet(), given, task)
        elif dataclasses.is_dataclass(hint):
            names = [field.name for field in dataclasses.fields(hint)]
            parts[name] = hint(**{n: given[n] for n in names if n in given})  # type: ignore[operator]
        elif name in given:
            parts[name] = given[name]
    return kind(**parts)


def _of_supernet(part: Supernet, given: Mapping[str, Any], task: type) -> Supernet:
    own = {name: given[name] for name in _of_strategies(task) if name in given}
    strategy = given.get("strategy", part.strategy)
    return dataclasses.replace(part, strategy=strategy, given={**part.given, **own})


class _Parser(ArgumentParser):
    def format_help(self, *args: Any, **kwargs: Any) -> str:
        """The help, with ``Path`` where jsonargparse writes ``<class 'Path'>``."""
        return re.sub(r"<class\s+'(\w+)'>", r"\1", super().format_help(*args, **kwargs))


def _parser(options: Iterable[Option], **more: Any) -> ArgumentParser:
    parser = _Parser(exit_on_error=False, default_env=False, allow_abbrev=False, **more)
    groups: dict[str, Any] = {}
    for option in options:
        if option.group not in groups:
            groups[option.group] = parser.add_argument_group(option.group)
        option.add_to(groups[option.group])
    return parser


def _parsed(parser: ArgumentParser, words: Sequence[str], options: _Options) -> dict[str, Any]:
    """What is given on a command line, and nothing else."""
    try:
        given = parser.parse_args(list(words)).as_dict()
    except ArgumentError as error:
        raise _refusal(error, options) from None
    return {n: options[n].frozen(v) if n in options else v for n, v in given.items()}


def _typed(option: Option, value: Any) -> Any:
    """A value as jsonargparse reads it for the type of an option."""
    parser = _parser([option])
    try:
        return parser.parse_object({option.name: value}, defaults=False)[option.name]
    except ArgumentError:
        raise option.refusal(value) from None


def _refusal(error: ArgumentError, options: _Options) -> ValueError:
    """What jsonargparse says, in the words of the other errors."""
    message = str(error)
    key = re.match(r'Parser key "(\w+)"', message)
    value = re.search(r"(?:Got|Given) value: (.*)$", message)
    if key is None or value is None or key[1] not in options:
        return ValueError(message)
    return options[key[1]].refusal(value[1])
