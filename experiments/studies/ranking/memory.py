"""Memory that the training steps of a supernet take, beside what the process takes anyway."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.space import RawFormatModelSpace
from torch.profiler import ProfilerActivity, profile, record_function

from experiments.studies.study import Study
from nni_magic.support.files import read_json

__all__ = ["StepMemory", "peak_memory"]

STEP = "training step"


def peak_memory(study: Study, name: str) -> int:
    """Most bytes that tensors take at once in a step: weights, gradients, states, activations.

    Trains the first seed for a step an epoch, so that every phase of a method has its steps.
    """
    planned = study.plan.supernets[name]
    seed, epochs = planned.seeds[0], planned.steps // study.plan.epoch_steps
    memory = StepMemory()
    trainer = {"max_steps": -1, "max_epochs": epochs, "limit_train_batches": 1,
               "limit_val_batches": 1, "callbacks": [memory]}  # fmt: skip
    evaluator, strategy = study.evaluator(planned.steps, seed, trainer), planned.make_strategy(seed)
    with memory:
        space = RawFormatModelSpace.from_model(study.domain.seeded_space(seed), evaluator)
        strategy(space, SequentialExecutionEngine())
    return memory.peak


class StepMemory(pl.Callback):
    """Measures what tensors that were made within its block take, in the training steps.

    On the CPU by the profiler's record of every allocation, which slows the training; on a GPU by
    what torch's allocator counts.

    Attributes
    ----------
    peak : int
        Most bytes at once.
    """

    def __init__(self) -> None:
        self.peak = 0
        self._profile: Any = None
        if not torch.cuda.is_available():
            self._profile = profile(activities=[ProfilerActivity.CPU], profile_memory=True)

    def __enter__(self) -> None:
        if self._profile is None:
            self._before = torch.cuda.memory_allocated()
        else:
            self._profile.__enter__()

    def __exit__(self, *error: Any) -> None:
        if self._profile is None:
            return
        self._profile.__exit__(*error)
        with tempfile.TemporaryDirectory() as folder:
            self._profile.export_chrome_trace(str(path := Path(folder) / "trace.json"))
            events = read_json(path)["traceEvents"]
        steps = [(one["ts"], one["ts"] + one["dur"]) for one in events if one["name"] == STEP]
        self.peak = max(
            total for at, total in _totals(events) if any(a <= at <= b for a, b in steps)
        )

    def on_train_batch_start(self, *args: Any) -> None:
        if self._profile is None:
            torch.cuda.reset_peak_memory_stats()
        self._range = record_function(STEP)
        self._range.__enter__()

    def on_train_batch_end(self, *args: Any) -> None:
        self._range.__exit__(None, None, None)
        if self._profile is None:
            self.peak = max(self.peak, torch.cuda.max_memory_allocated() - self._before)


def _totals(events: Iterable[dict[str, Any]]) -> Iterator[tuple[float, int]]:
    """When something was allocated or freed, and the bytes that were then held, made in the block.

    The profiler's own total goes on from the process's earlier profiles, and what is freed between
    two of them stays in it.
    """
    held: dict[int, int] = {}
    total = 0
    for one in sorted((e for e in events if e["name"] == "[memory]"), key=lambda e: e["ts"]):
        place, size = one["args"]["Addr"], one["args"]["Bytes"]
        if size > 0:
            held[place] = size
        total += size if size > 0 else -held.pop(place, 0)
        yield one["ts"], total
