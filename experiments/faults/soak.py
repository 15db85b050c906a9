"""A long training: memory and the checkpoint stay as small as they were."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import psutil
import pytorch_lightning as pl

from experiments.faults.processes import in_workers
from experiments.faults.small import BATCH, make_evaluator, run_strategy
from experiments.faults.tried import Campaign, Part, Tried

__all__ = ["SOAK", "growth", "soaked"]

EPOCH, EPOCHS, SETTLED = 250, 84, 20
"""Steps of an epoch, epochs, and those after which memory is measured."""

BOUND = 4.0
"""MiB that may come and go; 21,000 steps that each keep 256 bytes would take more."""

STRATEGIES = ("magic_at", "percentile_anchor")


class Memory(pl.Callback):
    """Memory of this process after each epoch, in MiB, and the size of the checkpoint before it."""

    def __init__(self, checkpoint: Path) -> None:
        self.checkpoint = checkpoint
        self.resident: list[float] = []
        self.size: list[int] = []

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        gc.collect()
        self.resident.append(psutil.Process().memory_info().rss / 2**20)
        self.size.append(self.checkpoint.stat().st_size if self.checkpoint.exists() else 0)


def soaked(strategy: str, folder: Path, epochs: int, epoch: int) -> dict[str, Any]:
    """Train for many steps; gives what :class:`Memory` saw."""
    memory = Memory(folder / "supernet.ckpt")
    evaluator = make_evaluator(folder, BATCH * epoch, epochs, [memory])
    run_strategy(strategy, evaluator, warmup_epochs=1)  # all is there before it is measured
    steps = evaluator.trainer.global_step
    return {"steps": steps, "resident": memory.resident, "size": memory.size}


def growth(values: list[float], settled: int) -> float:
    """By how much the mean of the last tenth is above that of a tenth after the first epochs.

    >>> growth([9, 1, 1, 1, 1, 1, 1, 1, 1, 1, 4], settled=1)
    3.0
    """
    n = max(1, len(values) // 10)
    early, late = values[settled : settled + n], values[-n:]
    return sum(late) / n - sum(early) / n


def soak(campaign: Campaign) -> list[Tried]:
    """Train long with the strategies that keep most."""
    epochs = 12 if campaign.short else EPOCHS
    jobs = [(name, campaign.folder / name, epochs, 20 if campaign.short else EPOCH)
            for name in STRATEGIES]  # fmt: skip
    found = in_workers(soaked, jobs, campaign.workers)
    settled = 2 if campaign.short else SETTLED
    return [_judged(name, each, settled) for name, each in zip(STRATEGIES, found, strict=True)]


def _judged(name: str, found: dict[str, Any], settled: int) -> Tried:
    more = max(0.0, growth(found["resident"], settled))
    grown = found["size"][-1] - found["size"][settled]
    wrong = ""
    if more > BOUND:
        wrong = f"the memory grew by {more:.1f} MiB in {found['steps']} steps"
    elif grown > 4096:
        wrong = f"the checkpoint grew by {grown} bytes"
    lost = {"steps trained": found["steps"], "MiB more": round(more, 2), "bytes more": grown}
    return Tried("a long training", wrong, name, lost)


SOAK = Part("soak", "a training of 21,000 steps", soak)
