"""Held-out batches are read once, and it is told by its own error if there are none."""

from types import SimpleNamespace

import pytest
import torch
from nni.nas.evaluator.pytorch import DataLoader

from nni_magic.scoring.held_out import HeldOut, NoHeldOutData

MODULE = SimpleNamespace(trainer=SimpleNamespace(limit_val_batches=1.0))


def test_batches_are_read_once_until_reset():
    held = HeldOut(MODULE, 2, DataLoader(torch.arange(12), batch_size=4, shuffle=True))
    batches = held.read()
    assert [(len(one.batch), one.batch_idx) for one in batches] == [(4, 0), (4, 1)]
    assert held.read() is batches
    held.reset()
    again = held.read()
    assert again is not batches
    assert [one.batch.tolist() for one in again] == [one.batch.tolist() for one in batches]


def test_no_batches_are_refused_by_an_error_of_its_own():
    with pytest.raises(NoHeldOutData, match="val_dataloaders that are not empty"):
        HeldOut(MODULE, 2, []).read()
