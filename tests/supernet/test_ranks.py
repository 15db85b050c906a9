"""Ranks that raise or stop: the others end with an error that says which one. Real processes."""

import re
import subprocess
import sys
import time

import pytest
from ranks import unlaunched

SCRIPT = """
import os
import signal
import sys
import time
from datetime import timedelta

import nni_bootstrap
import torch

torch.set_num_threads(1)

import pytorch_lightning as pl
from nni.nas.evaluator.pytorch import Classification, DataLoader
from pytorch_lightning.strategies import DDPStrategy
from pytorch_lightning.utilities import rank_zero_only

from nni_magic.support.errors import one_clear_message
from spaces import ConvSpace
from training import QUIET, images, make, train

what, rank, ranks, timeout = sys.argv[1], *map(int, sys.argv[2:])


class Fault(pl.Callback):
    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        if trainer.global_step != 2:
            return
        print(f"rank {rank_zero_only.rank} is in step 2", flush=True)
        if rank_zero_only.rank == rank:
            if what == "raise":
                raise ValueError("batch 2 is bad")
            os.kill(os.getpid(), signal.SIGSTOP)


evaluator = Classification(
    num_classes=10, learning_rate=0.01, max_epochs=1, callbacks=[Fault()],
    train_dataloaders=DataLoader(images(16 * ranks), batch_size=4),
    val_dataloaders=DataLoader(images(8), batch_size=4), devices=ranks,
    strategy=DDPStrategy(find_unused_parameters=True, timeout=timedelta(seconds=timeout)), **QUIET,
)
with one_clear_message():
    train(make("spos"), ConvSpace(), evaluator)
"""


def ended(folder, *words):
    """What all ranks print, and how long they take from the fault on."""
    (folder / "train.py").write_text(SCRIPT)
    process = subprocess.Popen(
        [sys.executable, str(folder / "train.py"), *map(str, words)],
        env=unlaunched(), cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    )  # fmt: skip
    lines, fault = [], None
    for line in process.stdout:  # until the last rank has ended
        lines.append(line)
        if fault is None and "is in step 2" in line:
            fault = time.monotonic()
        if f"rank 0 of {words[2]} does not answer" in line:
            process.kill()  # whoever has stopped the first process has to end it: no rank does
    assert process.wait(60) != 0
    assert fault is not None, "".join(lines)
    return "".join(lines), time.monotonic() - fault


@pytest.mark.parametrize("rank", [1, pytest.param(0, marks=pytest.mark.slow)])
def test_error_of_one_rank_is_that_of_all(rank, tmp_path):
    out, seconds = ended(tmp_path, "raise", rank, 2, 600)
    assert "error: batch 2 is bad\n" in out
    assert f"error: rank {rank} of 2 has ended with ValueError: batch 2 is bad\n" in out
    assert "Traceback" not in out
    assert seconds < 60


@pytest.mark.slow
@pytest.mark.parametrize(("rank", "ranks"), [(1, 2), (2, 4), (0, 2)])
def test_rank_that_has_stopped_is_named_after_the_time_out(rank, ranks, tmp_path):
    timeout = 45  # within which the ranks must have found each other, too
    out, seconds = ended(tmp_path, "stop", rank, ranks, timeout)
    assert re.search(rf"error: rank {rank} of {ranks} does not answer: it was stopped or ki", out)
    assert "Traceback" not in out
    assert timeout - 5 <= seconds < timeout + 75
