"""Settings in the files of results; with whole studies they are tested in test_study.py."""

from studies import plan_of

from experiments.studies.records import child_settings, supernet_settings
from nni_magic.programs.made_with import read_result
from nni_magic.support.files import write_json

SAMPLE = {"layer_1": "ffn"}


def test_result_of_the_same_settings_is_read(tmp_path):
    plan = plan_of(tmp_path)
    for made_with in (child_settings(plan, SAMPLE), supernet_settings(plan, "spos")):
        record = {"made_with": made_with, "val_loss": 4.0}
        write_json(tmp_path / "a.json", record)
        assert read_result(tmp_path / "a.json", made_with)["val_loss"] == 4.0


def test_children_do_not_depend_on_what_only_supernets_need(tmp_path):
    plan, other = plan_of(tmp_path), plan_of(tmp_path, epoch_steps=4)
    assert child_settings(plan, SAMPLE) == child_settings(other, SAMPLE)
    assert supernet_settings(plan, "spos") != supernet_settings(other, "spos")
