"""Hyper-parameters in a checkpoint that torch reads safely."""

import torch
from torch import nn

from nni_magic.supernet.hyper_parameters import keep_loadable


def test_what_does_not_load_safely_is_left_out(tmp_path):
    checkpoint = {
        "hyper_parameters": {"rate": 0.1, "kind": nn.ReLU, "sizes": [1, 2]},
        "datamodule_hyper_parameters": {"reader": len},
        "epoch": 1,
    }
    keep_loadable(checkpoint)
    wanted = {
        "hyper_parameters": {"rate": 0.1, "sizes": [1, 2]}, "datamodule_hyper_parameters": {},
        "epoch": 1,
    }  # fmt: skip
    assert checkpoint == wanted
    torch.save(checkpoint, tmp_path / "one.ckpt")
    assert torch.load(tmp_path / "one.ckpt", weights_only=True) == wanted


def test_a_checkpoint_without_any_stays_as_it_is():
    checkpoint = {"epoch": 1}
    keep_loadable(checkpoint)
    assert checkpoint == {"epoch": 1}
