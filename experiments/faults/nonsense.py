"""Nonsense to put into settings, and what became of it: refused by name, or accepted.

A *row* is something that takes settings: a function that makes it, and for every setting what it
accepts, written down here once more and independently of the code. A value is then

- ``refused``: by a ``TypeError`` or a ``ValueError`` that names the setting;
- ``accepted``, and the row says that it has a meaning;
- ``silent``: accepted, and it has none;
- ``cryptic``: refused by another error, or by one that does not name the setting.
"""

import contextlib
import copy
import math
import numbers
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch

VALUES = [
    None, math.nan, math.inf, -math.inf, -1, 0, 1, 2, 0.0, 0.5, 1.5, -0.5, 2.0, 1e300, 10**30,
    10**400, True, False, "", "x", "1", "nan", " ", "\0", b"x", [], [1], ["x"], [None], [[]], (),
    (1,), {}, {"x": 1}, {1}, set(), object(), len, Path("x"), 1j, Fraction(1, 3), range(3),
    np.int64(2), np.int64(-1), np.float32(0.5), np.float64("nan"), np.bool_(True), np.str_("x"),
    np.array([1, 2]), np.array(3), np.array([]), torch.tensor(1), torch.tensor([1.0, 2.0]),
]  # fmt: skip

Meaning = Callable[[Any], bool]


def whole(at_least=0, at_most=math.inf) -> Meaning:
    """Whole numbers of Python or numpy; ``True`` is none."""
    return lambda value: (
        isinstance(value, numbers.Integral)
        and not isinstance(value, bool)
        and at_least <= value <= at_most
    )


def number(accepts: Callable[[float], bool]) -> Meaning:
    """Finite numbers that meet a condition."""

    def meant(value: Any) -> bool:
        if not isinstance(value, numbers.Real) or isinstance(value, (bool, Fraction)):
            return False
        try:
            return math.isfinite(float(value)) and accepts(cast(float, value))
        except OverflowError:
            return False

    return meant


def flag(value: Any) -> bool:
    """``True`` or ``False``."""
    return isinstance(value, bool)


def text(value: Any) -> bool:
    """Text of more than blanks."""
    return isinstance(value, str) and value.strip() != ""


def path(value: Any) -> bool:
    """Paths."""
    return isinstance(value, Path)


def nothing(value: Any) -> bool:
    """``None``."""
    return value is None


def one_of(*choices: str) -> Meaning:
    """Some texts."""
    return lambda value: isinstance(value, str) and value in choices


def function(value: Any) -> bool:
    """What can be called."""
    return callable(value)


def several(meaning: Meaning) -> Meaning:
    """Lists and the like of at least one."""
    return lambda value: (
        isinstance(value, (list, tuple, range)) and len(value) > 0 and all(map(meaning, value))
    )


def either(*meanings: Meaning) -> Meaning:
    """What one of several meanings takes."""
    return lambda value: any(meaning(value) for meaning in meanings)


positive = number(lambda value: value > 0)
not_negative = number(lambda value: value >= 0)
probability = number(lambda value: 0 <= value <= 1)
share = number(lambda value: 0 < value < 1)
percent = number(lambda value: 0 <= value <= 100)
seed = whole(0)


class Row(NamedTuple):
    """What takes settings, and the meaning of each; ``given`` are settings that it needs."""

    name: str
    make: Callable[..., Any]
    meanings: Mapping[str, Meaning]
    given: Mapping[str, Any] = {}
    called: Mapping[str, str] = {}
    """Names of settings in messages, where they are other ones."""
    works: bool = False
    """Whether it does at once what it is told, so that huge numbers would keep it busy."""


class Found(NamedTuple):
    """What became of a value of a setting."""

    row: str
    setting: str
    value: str
    outcome: str
    error: str = ""


def told(value: Any) -> str:
    """A value in a line, the same in every process; an int of 400 digits is not printed."""
    if isinstance(value, int) and value == 10**400:
        return "10**400"
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))[:60]


def outcome(row: Row, setting: str, value: Any) -> Found:
    """What becomes of one value of one setting, the others having their defaults."""
    place = row.name, setting, told(value)
    try:
        with contextlib.suppress(NotImplementedError):
            row.make(**{**row.given, setting: copy.deepcopy(value)})
    except (TypeError, ValueError) as error:
        name = row.called.get(setting, setting)
        named = re.search(rf"(?<![\w']){name}\b", str(error))
        # An unexpected keyword would be named, too: that is a mistake in the row.
        ours = named and "unexpected keyword" not in str(error)
        return Found(*place, "refused" if ours else "cryptic", f"{type(error).__name__}: {error}")
    except Exception as error:
        return Found(*place, "cryptic", f"{type(error).__name__}: {error}")
    return Found(*place, "accepted" if row.meanings[setting](value) else "silent")


def campaign(rows: Iterable[Row], values: Sequence[Any] = VALUES) -> list[Found]:
    """Give every value to every setting of every row."""
    return [
        outcome(row, setting, value)
        for row in rows
        for setting in row.meanings
        for value in values
        if not (row.works and whole(10**30)(value))
    ]


def bad(found: Iterable[Found]) -> list[Found]:
    """Those that were cryptic or silent."""
    return [each for each in found if each.outcome in ("cryptic", "silent")]


def counts(found: Iterable[Found]) -> Counter[str]:
    """How many had which outcome."""
    return Counter(each.outcome for each in found)
