"""Names before messages of errors, and settings that are whole numbers."""

import os
import re

import numpy as np
import pytest

from nni_magic.support.errors import (
    check_choice,
    check_count,
    check_flag,
    check_number,
    check_seed,
    naming,
    one_clear_message,
)  # fmt: skip


def test_name_comes_before_the_message():
    with (
        pytest.raises(ValueError, match=r"^plan: steps: it is 0$"),
        naming("plan"), naming("steps"),
    ):  # fmt: skip
        raise ValueError("it is 0")


def test_other_errors_pass():
    with pytest.raises(KeyError, match=r"^'a'$"), naming("plan"):
        raise KeyError("a")


@pytest.mark.parametrize(("value", "at_least"), [(1, 1), (10**30, 1), (0, 0), (2, 2)])
def test_whole_numbers_that_are_large_enough_are_accepted(value, at_least):
    check_count("n", value, at_least=at_least)


@pytest.mark.parametrize(
    ("value", "at_least"),
    [(0, 1), (-1, 0), (1, 2), (2.0, 1), (True, 1), (False, 0), ("3", 1), (None, 1)],
)
def test_other_values_are_refused_and_named(value, at_least):
    message = f"^n is {value!r}; accepted are whole numbers of at least {at_least}$"
    with pytest.raises(ValueError, match=message):
        check_count("n", value, at_least=at_least)


@pytest.mark.parametrize("value", [-1, 4, True, 2.0, 10**400])
def test_whole_number_outside_of_two_bounds_is_refused(value):
    with pytest.raises(ValueError, match=f"^n is {value}; accepted are whole numbers from 0 to 3$"):
        check_count("n", value, at_least=0, at_most=3)


@pytest.mark.parametrize("value", [0, 2**70, [0, 1], (3,)])
def test_seeds_of_numpy_are_accepted(value):
    check_seed("seed", value)


@pytest.mark.parametrize("value", [None, -1, 1.0, True, "1", [], [0, -1], [None]])
def test_other_seeds_are_refused(value):
    with pytest.raises(ValueError, match=r"^seed is .*; accepted are whole numbers of at least 0$"):
        check_seed("seed", value)


@pytest.mark.parametrize("value", [0, 1, None, "true", [True]])
def test_what_is_no_flag_is_refused(value):
    check_flag("lazy", True)
    message = f"^lazy is {re.escape(repr(value))}; accepted are true and false$"
    with pytest.raises(ValueError, match=message):
        check_flag("lazy", value)


@pytest.mark.parametrize("value", ["best", [], {}, np.array([1, 2])])
@pytest.mark.parametrize("accepted", [("min", "max"), {"min": 1, "max": 2}])
def test_what_is_no_choice_is_refused_also_without_a_hash(value, accepted):
    check_choice("mode", "max", accepted)
    message = f"^mode is {re.escape(repr(value))}; accepted are 'min', 'max'$"
    with pytest.raises(ValueError, match=message):
        check_choice("mode", value, accepted)


@pytest.mark.parametrize(
    ("bounds", "value", "accepted"),
    [
        ({}, float("inf"), "finite numbers"),
        ({"at_least": 0}, -1, "finite numbers of at least 0"),
        ({"at_most": 2}, 3, "finite numbers of at most 2"),
        ({"at_least": 0, "at_most": 1}, 1.5, "numbers from 0 to 1"),
        ({"above": 0}, 0, "finite numbers above 0"),
        ({"above": 0, "below": 1}, 1, "finite numbers above 0 and below 1"),
        ({"at_least": 0, "below": 1}, 1.0, "finite numbers of at least 0 and below 1"),
        ({"at_least": 0}, True, "finite numbers of at least 0"),
        ({"at_least": 0}, 10**400, "finite numbers of at least 0"),
        ({"at_least": 0}, "1", "finite numbers of at least 0"),
    ],
)
def test_number_out_of_bounds_is_refused_and_named(bounds, value, accepted):
    with pytest.raises(ValueError, match=f"^x is {value!r}; accepted are {accepted}$"):
        check_number("x", value, **bounds)


@pytest.mark.parametrize(("bounds", "value"), [
    ({}, -3), ({"at_least": 0, "at_most": 1}, 0), ({"at_least": 0, "at_most": 1}, 1.0),
    ({"above": 0, "below": 1}, 0.5), ({"at_least": 0, "below": 1}, 0),
])  # fmt: skip
def test_number_within_bounds_is_accepted(bounds, value):
    check_number("x", value, **bounds)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("k is 0; accepted are whole numbers of at least 1"),
        TypeError("vocab_size is '9'; accepted are whole numbers"),
        FileNotFoundError("corpus_spec names 'nowhere', which does not exist"),
        ModuleNotFoundError("corpus needs a package: pip install datasets"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_users_mistake_ends_the_trial_with_one_line(error, capsys):
    with pytest.raises(SystemExit) as ended, one_clear_message():
        raise error
    assert ended.value.code == 1
    assert capsys.readouterr().out == f"error: {error}\n"


@pytest.mark.parametrize(
    "error",
    [RuntimeError("sizes differ"), KeyError("x"), ModuleNotFoundError("No module named 'x'")],
    ids=lambda error: type(error).__name__,
)
def test_other_errors_keep_their_traceback(error, capsys):
    with pytest.raises(type(error)) as kept, one_clear_message():
        raise error
    assert kept.value is error
    assert kept.traceback[-1].path.name == os.path.basename(__file__)
    assert capsys.readouterr().out == ""


def test_nothing_is_printed_when_all_goes_well(capsys):
    with one_clear_message():
        pass
    assert capsys.readouterr().out == ""
