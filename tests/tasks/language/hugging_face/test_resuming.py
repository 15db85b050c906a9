"""Checkpoints that are whole, and of the same settings."""

import json

import pytest

from nni_magic.tasks.language.hugging_face import check_settings
from nni_magic.tasks.language.hugging_face.resuming import last_complete


def test_last_checkpoint_is_one_that_was_written_to_its_end(tmp_path):
    assert last_complete(tmp_path) is None
    for step, whole in ((2, True), (10, True), (12, False)):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        if whole:
            (folder / "complete.json").write_text(json.dumps({"step": step}))
    assert last_complete(tmp_path) == tmp_path / "checkpoint-10"


def test_training_of_other_settings_is_refused(tmp_path):
    check_settings(tmp_path, {"seed": 0})
    check_settings(tmp_path, {"seed": 0})
    with pytest.raises(ValueError, match="made with other settings: seed is 0 there, and 1 here"):
        check_settings(tmp_path, {"seed": 1})
