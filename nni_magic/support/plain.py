"""What settings hold of numpy as Python's own, so that JSON and checkpoints hold it."""

from __future__ import annotations

import sys
from dataclasses import fields
from typing import Any

__all__ = ["plain_fields", "plain_value"]


def plain_fields(settings: Any) -> None:
    """Turn what fields of a frozen dataclass hold of numpy into Python's own, in place."""
    for field in fields(settings):
        value = getattr(settings, field.name)
        if (plain := plain_value(value)) is not value:
            object.__setattr__(settings, field.name, plain)


def plain_value(value: Any) -> Any:
    """Python's own of numpy's scalars and lists, in nested containers, too; else the same object.

    >>> import numpy as np
    >>> plain_value({"layers": (np.int64(3), np.arange(2)), "name": np.str_("a")})
    {'layers': (3, [0, 1]), 'name': 'a'}
    """
    if (numpy := sys.modules.get("numpy")) is None:  # not loaded: then nothing can be of it
        return value
    if isinstance(value, numpy.generic) or (isinstance(value, numpy.ndarray) and value.ndim):
        return value.tolist()
    if type(value) is dict:
        found = {plain_value(key): plain_value(one) for key, one in value.items()}
        same = all(map(_same, found.items(), value.items()))
    elif type(value) in (list, tuple):
        found = type(value)(map(plain_value, value))
        same = all(ours is theirs for ours, theirs in zip(found, value, strict=True))
    else:
        return value
    return value if same else found


def _same(ours: tuple[Any, Any], theirs: tuple[Any, Any]) -> bool:
    return ours[0] is theirs[0] and ours[1] is theirs[1]
