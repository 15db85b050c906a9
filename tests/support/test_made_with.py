"""Results in files are refused where they were made with other settings."""

import pytest

from nni_magic.support.files import write_json
from nni_magic.support.made_with import read_result


def test_result_that_is_not_there_is_none(tmp_path):
    assert read_result(tmp_path / "none.json", {}) is None


@pytest.mark.parametrize(("theirs", "ours", "message"), [
    ({"a": {"b": 1}}, {"a": {"b": 2}}, r"a.json' was made with other settings: a.b is 1 there, an"),
    ({"a": {"b": 1}}, {"a": {}}, r"a.b is 1 there, and None here"),
    ({}, {"a": {"b": (1, 2)}}, r"a.b is None there, and \[1, 2\] here"),
    ({"a": 1}, {"a": {"b": 1}}, r"a.b is None there, and 1 here"),
])  # fmt: skip
def test_first_setting_that_differs_is_named(tmp_path, theirs, ours, message):
    write_json(tmp_path / "a.json", {"made_with": theirs})
    with pytest.raises(ValueError, match=message):
        read_result(tmp_path / "a.json", ours)


def test_result_without_settings_is_refused(tmp_path):
    write_json(tmp_path / "a.json", {"val_loss": 4.0})
    with pytest.raises(ValueError, match=r"a.json' does not record the settings"):
        read_result(tmp_path / "a.json", {})
