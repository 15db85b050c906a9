import pytest

from search_spaces.checks import check_dropout, check_names, check_preset, check_sizes


def test_what_is_accepted_passes():
    check_sizes(a=1, b=10**6)
    check_dropout(0)
    check_dropout(0.999)
    check_names("candidates", ["ffn"])
    check_preset("tiny", {"tiny": {}})


@pytest.mark.parametrize("size", [0, -1, 2.0, True, "3", None])
def test_sizes_that_are_none_are_named(size):
    message = f"b is {size!r}; accepted are whole numbers of at least 1"
    with pytest.raises(ValueError, match=message):
        check_sizes(a=1, b=size)


@pytest.mark.parametrize("dropout", [-0.1, 1, float("nan")])
def test_dropout_out_of_range_is_refused(dropout):
    with pytest.raises(ValueError, match=f"dropout is {dropout}; accepted are numbers from 0 to"):
        check_dropout(dropout)


@pytest.mark.parametrize(("names", "error", "message"), [
    ("ffn", TypeError, "candidates is 'ffn'; accepted are sequences of names, not one string"),
    ([], ValueError, r"candidates is \[\]; accepted are one or more names that differ"),
    (["a", "b", "a"], ValueError, "candidates is .*; accepted are one or more names that differ"),
])  # fmt: skip
def test_names_that_do_not_do_are_refused(names, error, message):
    with pytest.raises(error, match=message):
        check_names("candidates", names)


def test_unknown_preset_is_refused():
    with pytest.raises(ValueError, match="preset is 'huge'; accepted are 'base', 'tiny'"):
        check_preset("huge", {"base": {}, "tiny": {}})
