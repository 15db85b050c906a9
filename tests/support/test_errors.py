"""Names before messages of errors, and settings that are whole numbers."""

import pytest

from nni_magic.support.errors import check_count, naming


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
