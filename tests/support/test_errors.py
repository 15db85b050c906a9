"""Names before messages of errors, and settings that are whole numbers."""

import pytest

from nni_magic.support.errors import check_count, check_number, naming, one_clear_message


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
    "error", [ValueError("k is 0"), TypeError("k is 0"), FileNotFoundError("k is 0"),
              ModuleNotFoundError("k is 0: pip install k")],
)  # fmt: skip
def test_mistake_of_a_user_ends_a_program_with_one_line(error, capsys):
    with pytest.raises(SystemExit) as ended, one_clear_message():
        raise error
    assert ended.value.code == 1
    assert capsys.readouterr().out == f"error: {error}\n"


@pytest.mark.parametrize("error", [KeyError("k"), ModuleNotFoundError("No module named 'k'")])
def test_mistake_of_ours_keeps_its_traceback(error):
    with pytest.raises(type(error), match="k"), one_clear_message():
        raise error
