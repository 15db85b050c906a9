"""A checkpoint that does not tell its settings is refused; one of others with the BERT trial."""

import pytest
import torch
from spaces import ConvSpace
from training import Watch, classification, make, train

from nni_magic.programs.made_with import MadeWith


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
