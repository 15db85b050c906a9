"""What all tests share: NNI loaded in the order that it needs, a corpus, a trial's line."""

import os
import random

import nni
import nni_bootstrap  # noqa: F401
import pytest
import torch
from nni.runtime import trial_command_channel
from nni.runtime.trial_command_channel.standalone import StandaloneTrialCommandChannel
from ranks import LAUNCHED

from nni_magic.manager.trial import ManagedTrial

# Several processes with as many threads as cores each would wait for each other.
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Documents of random words, and a cache that all tests of a module share."""
    folder = tmp_path_factory.mktemp("corpus")
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefghij", k=rng.randint(2, 6))) for _ in range(80)]
    for number in range(8):
        (folder / f"{number}.txt").write_text(" ".join(rng.choices(words, k=400)))
    return folder


@pytest.fixture(autouse=True)
def nothing_looks_launched():
    """Take away what a distributed training in this process has left for those that it starts."""
    yield
    for name in LAUNCHED:
        os.environ.pop(name, None)


@pytest.fixture
def trial(monkeypatch):
    """The line of a run without a manager."""
    previous = trial_command_channel.get_default_trial_command_channel()
    trial_command_channel.set_default_trial_command_channel(StandaloneTrialCommandChannel())
    for name in ("NNI_MAGIC_TRIAL_PARAMETERS", "PL_GLOBAL_SEED", "PL_SEED_WORKERS"):
        monkeypatch.setenv(name, "")  # taken away or put back afterwards
    monkeypatch.setattr(nni.trial, "_params", None)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield ManagedTrial()
    torch.set_num_threads(threads)
    trial_command_channel.set_default_trial_command_channel(previous)
