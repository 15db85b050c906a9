"""Types of settings: what is of an annotated type, and what is said of it."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pytest

from nni_magic.support.kinds import check_kinds, fits, in_words

if TYPE_CHECKING:
    from somewhere import Unknown

ROWS = [
    (bool, [True, False], [0, 1, None, "true", np.bool_(True)]),
    (int, [0, -1, 2**63 - 1, np.int64(3)],
     [True, 1.0, "1", None, np.array(1), np.float64(1), 2**63, -(2**63), 10**400]),
    (float, [1, -0.5, np.float32(0.5)], [True, float("nan"), float("inf"), 10**400, "1", 1j]),
    (str, ["a", "\0"], ["", " ", b"a", 1, None, ["a"]]),
    (Path, [Path("a"), Path()], ["a", None]),
    (int | None, [1, None], [1.5, "", []]),
    (Literal["min", "max"], ["min"], ["", "best", None, 1, [], np.array([1, 2])]),
    (tuple[str, ...], [("a",), ["a", "b"]], [(), [], "a", ["a", 1], {"a"}, [""]]),
    (Sequence[int | str], [[1, "a"], (2,), range(2)], [[], "a", b"a", 3, [None], np.array([1])]),
    (Mapping[str, Any], [{}, {"a": 1}], [[], None, "a", [("a", 1)]]),
    (Any, [None, []], []),
]


@pytest.mark.parametrize(("hint", "accepted", "refused"), ROWS, ids=lambda each: str(each)[:30])
def test_value_fits_its_type_or_does_not(hint, accepted, refused):
    assert [value for value in accepted if not fits(value, hint)] == []
    assert [value for value in refused if fits(value, hint)] == []


@pytest.mark.parametrize(("hint", "words"), [
    (int, "whole numbers"), (float | None, "finite numbers or None"), (str, "text"),
    (bool, "true and false"), (Path, "paths"), (Literal["min", "max"], "'min', 'max'"),
    (Sequence[int | str], "lists of whole numbers or text"), (Mapping[str, Any], "mappings"),
    (dict, "dict objects"),
])  # fmt: skip
def test_type_in_words(hint, words):
    assert in_words(hint) == words


@dataclasses.dataclass
class Walk:
    lazy: bool = False
    k: int = 1


@dataclasses.dataclass
class Unresolved:
    lazy: "Unknown" = 1


def test_first_field_that_does_not_fit_is_named():
    check_kinds(Walk())
    with pytest.raises(ValueError, match=r"^lazy is 1; accepted are true and false$"):
        check_kinds(Walk(lazy=1, k="x"))


def test_types_that_only_a_type_checker_imports_are_passed_over():
    check_kinds(Unresolved())
