"""Trainings by Trainer take one GPU a process, whatever the machine has."""

from types import SimpleNamespace

import pytest
import torch

from nni_magic.programs import fine_tune, glue, one_gpu, pretrain


@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("WORLD_SIZE", raising=False)


@pytest.mark.parametrize("start", [fine_tune.fine_tune, glue.make, pretrain.run])
def test_several_gpus_of_one_process_are_refused_at_the_start(start, two_gpus):
    with pytest.raises(ValueError, match="leaves 2 GPUs to one process; accepted is one, as with"):
        start(SimpleNamespace())  # no setting is read before


def test_processes_of_torchrun_share_them(two_gpus, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    one_gpu.check_one_gpu()


@pytest.mark.parametrize("gpus", [0, 1])
def test_one_gpu_and_none_are_accepted(gpus, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    one_gpu.check_one_gpu()
