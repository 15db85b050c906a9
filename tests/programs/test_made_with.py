"""Results of other settings are refused: files here, checkpoints with the BERT trial."""

import pytest
import torch
from spaces import ConvSpace
from training import Watch, classification, make, train

from nni_magic.programs.made_with import MadeWith, read_result
from nni_magic.support.files import write_json


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


def test_checkpoint_without_callbacks_is_refused(tmp_path):
    def start(watch, checkpoint=None):
        evaluator = classification(watch)
        evaluator.trainer.callbacks.append(MadeWith(path, {"k": 2}))
        train(make("spos"), ConvSpace(), evaluator, checkpoint)

    path = tmp_path / "now.ckpt"
    start(Watch(4, path))
    start(Watch(5, tmp_path / "later.ckpt"), path)
    checkpoint = torch.load(path, weights_only=True)
    without = {key: value for key, value in checkpoint.items() if key != "callbacks"}
    for changed in ({**checkpoint, "callbacks": {}}, without):
        torch.save(changed, path)
        with pytest.raises(ValueError, match=r"now.ckpt' does not record the settings that it was"):
            start(Watch(), path)
