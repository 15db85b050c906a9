"""Settings kept with a result, so that it is not taken for that of other settings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .files import check_record, read_json

__all__ = ["check_same", "read_result"]


def check_same(name: str, theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> None:
    """Make sure that a result was made with our settings.

    Raises
    ------
    ValueError
        If it was not. The message names the result, the first differing setting and its values.

    Examples
    --------
    >>> check_same("'a.json'", {"space": {"hidden": 8}}, {"space": {"hidden": 16}})
    Traceback (most recent call last):
    ValueError: 'a.json' was made with other settings: space.hidden is 8 there, and 16 here
    """
    there, here = _flat(theirs), _flat(json.loads(json.dumps(ours)))
    for setting in here | there:
        if there.get(setting) != here.get(setting):
            raise ValueError(
                f"{name} was made with other settings: {setting} is {there.get(setting)!r} there, "
                f"and {here.get(setting)!r} here"
            )


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Give nested settings one name each.

    >>> _flat({"space": {"hidden": 8, "n_layers": 4}, "domain": "bert"})
    {'space.hidden': 8, 'space.n_layers': 4, 'domain': 'bert'}
    """
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        whole = prefix + name
        flat |= _flat(value, f"{whole}.") if isinstance(value, Mapping) else {whole: value}
    return flat


def read_result(
    path: Path, made_with: Mapping[str, Any], **kinds: Any
) -> dict[str, Any] | None:
    """Read the JSON file of a result, which has its settings under ``made_with``.

    Parameters
    ----------
    path
        The file; ``None`` is given if it is not there.
    made_with
        The settings that it must have been made with.
    **kinds
        Types of other values that it must hold; see :func:`nni_magic.support.files.read_record`.

    Raises
    ------
    ValueError
        If it does not record its settings, or records others; or lacks one of the values.
    """
    if (found := read_json(path)) is None:
        return None
    if not isinstance(found, dict) or not isinstance(found.get("made_with"), dict):
        raise ValueError(f"{str(path)!r} does not record the settings that it was made with")
    check_same(repr(str(path)), found["made_with"], made_with)
    check_record(path, found, **kinds)
    return found
