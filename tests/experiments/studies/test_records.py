"""Settings in the files of results; with whole studies they are tested in test_rank_study.py."""

import pytest
from studies import plan_of

from experiments.studies.records import child_settings, read_result, supernet_settings
from nni_magic.files import write_json

SAMPLE = {"layer_1": "ffn"}


def test_result_that_is_not_there_is_none(tmp_path):
    assert read_result(tmp_path / "none.json", {}) is None


def test_result_of_the_same_settings_is_read(tmp_path):
    plan = plan_of(tmp_path)
    for made_with in (child_settings(plan, SAMPLE), supernet_settings(plan, "spos")):
        record = {"made_with": made_with, "val_loss": 4.0}
        write_json(tmp_path / "a.json", record)
        assert read_result(tmp_path / "a.json", made_with)["val_loss"] == 4.0


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


def test_children_do_not_depend_on_what_only_supernets_need(tmp_path):
    plan, other = plan_of(tmp_path), plan_of(tmp_path, epoch_steps=4)
    assert child_settings(plan, SAMPLE) == child_settings(other, SAMPLE)
    assert supernet_settings(plan, "spos") != supernet_settings(other, "spos")
