"""The small program trains, searches, and goes on from its checkpoint."""

import json

import pytest
import torch

from experiments.faults.small import EPOCHS, SMALL_RUNS, STEPS, Chain, train_small
from nni_magic.supernet.checkpoint import read_checkpoint


@pytest.mark.parametrize("name", SMALL_RUNS)
def test_run_that_is_started_again_finds_the_same(name, tmp_path):
    train_small("magic_at", tmp_path, **SMALL_RUNS[name])
    results = tmp_path / "results.json"
    first = results.read_text()
    assert read_checkpoint(tmp_path / "supernet.ckpt")["global_step"] == EPOCHS * STEPS
    results.unlink()
    train_small("magic_at", tmp_path, **SMALL_RUNS[name])
    assert results.read_text() == first
    found = json.loads(first)
    shrunk = "n_drop" in SMALL_RUNS[name]
    assert len(found["found"]) == (0 if shrunk else 6)
    assert (len(found["best"]) == 1) is shrunk


def test_chain_has_81_children():
    space = Chain()
    assert space(torch.ones(2, 8)).shape == (2, 4)
    assert [len(mutable.values) for mutable in space.simplify().values()] == [3] * 4
