"""Memory that the training steps of a supernet take, beside what the process takes anyway."""

from __future__ import annotations

import gc
import tempfile
import weakref
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.space import RawFormatModelSpace
from torch.profiler import ProfilerActivity, profile

from experiments.studies.measurements import Measurements
from experiments.studies.study import Study
from nni_magic.support.files import read_json

__all__ = ["Memory", "StepMemory", "peak_memory"]


class Memory(Measurements):
    """Measures what a training step takes with every method of a plan, with its first seed.

    Parameters
    ----------
    study
        Has the plan; nothing needs to be trained.
    """

    def __init__(self, study: Study) -> None:
        planned = study.plan.supernets
        first = {name: one.seeds[:1] for name, one in planned.items()}
        super().__init__(study, study.output / "memory", first)

    def made_with(self, name: str) -> dict[str, Any]:
        return self.study.made_supernet(name)

    def measure(self, name: str, seed: int) -> None:
        self.save(name, seed, {"peak_memory": peak_memory(self.study, name, seed)})


def peak_memory(study: Study, name: str, seed: int) -> int:
    """Most bytes that tensors take at once in a step: weights, gradients, states, activations.

    Trains for a step an epoch, so that every phase of a method has its steps.
    """
    memory = StepMemory()
    trainer = {"limit_train_batches": 1, "limit_val_batches": 1, "callbacks": [memory]}
    evaluator = study.supernet_evaluator(name, seed, trainer)
    strategy = study.plan.supernets[name].make_strategy(seed)
    with memory:
        space = RawFormatModelSpace.from_model(study.domain.seeded_space(seed), evaluator)
        strategy(space, SequentialExecutionEngine())
    return memory.peak


class StepMemory(pl.Callback):
    """Measures what tensors that were made within its block take, in the training steps.

    On the CPU by what is there when a step begins, and by the profiler's record of every allocation
    of the step, which slows it; on a GPU by what torch's allocator counts.

    Attributes
    ----------
    peak : int
        Most bytes at once.
    """

    def __init__(self) -> None:
        self.peak = 0
        self._on_cpu = not torch.cuda.is_available()

    def __enter__(self) -> None:
        if self._on_cpu:
            self._older = [weakref.ref(one) for one in _tensors()]
        else:
            self._before = torch.cuda.memory_allocated()

    def __exit__(self, *error: Any) -> None:
        pass

    def on_train_batch_start(self, *args: Any) -> None:
        if not self._on_cpu:
            torch.cuda.reset_peak_memory_stats()
            return
        older = _storages(one for ref in self._older if (one := ref()) is not None)
        self._held = {at: size for at, size in _storages(_tensors()).items() if at not in older}
        self._profile = profile(activities=[ProfilerActivity.CPU], profile_memory=True)
        self._profile.__enter__()

    def on_train_batch_end(self, *args: Any) -> None:
        if not self._on_cpu:
            self.peak = max(self.peak, torch.cuda.max_memory_allocated() - self._before)
            return
        self._profile.__exit__(None, None, None)
        with tempfile.TemporaryDirectory() as folder:
            self._profile.export_chrome_trace(str(path := Path(folder) / "trace.json"))
            events = read_json(path)["traceEvents"]
        self.peak = max(self.peak, *_totals(events, self._held))


def _tensors() -> list[torch.Tensor]:
    """All on the CPU that Python knows of, and their gradients; none of a traced program's."""
    kinds = (torch.Tensor, torch.nn.Parameter)
    found = [one for one in gc.get_objects() if type(one) in kinds]
    found += [one.grad for one in found if one.is_leaf and one.grad is not None]
    return [one for one in found if one.device.type == "cpu" and one.layout == torch.strided]


def _storages(tensors: Iterable[torch.Tensor]) -> dict[int, int]:
    """Where their memory is, and its bytes."""
    storages = (one.untyped_storage() for one in tensors)
    return {one.data_ptr(): one.nbytes() for one in storages if one.nbytes()}


def _totals(events: Iterable[dict[str, Any]], held: Mapping[int, int]) -> Iterator[int]:
    """Bytes that are held, at first and after every allocation and release.

    The profiler's own total goes on from the process's earlier profiles, and what is freed between
    two of them stays in it.
    """
    now = dict(held)
    yield (total := sum(now.values()))
    for one in sorted((e for e in events if e["name"] == "[memory]"), key=lambda e: e["ts"]):
        place, size = one["args"]["Addr"], one["args"]["Bytes"]
        if size > 0:
            now[place] = size
        total += size if size > 0 else -now.pop(place, 0)
        yield total
