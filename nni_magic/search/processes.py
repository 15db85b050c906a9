"""Work that is shared among forks of this process.

A fork has what this process has: the supernet, its weights, the evaluator and the batches. Nothing
is sent to it, so that any evaluator will do, also one of a notebook, and all begin with the weights
of the moment.
"""

from __future__ import annotations

import gc
import pickle
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from torch.multiprocessing.spawn import ProcessExitedException, start_processes

__all__ = ["check_processes", "in_processes"]

T = TypeVar("T")

_LOOK = 0.2
"""Seconds between two looks of the process at how far its forks have come."""


def check_processes(processes: int, device: torch.device) -> None:
    """Make sure that so many processes can run children on a device.

    Raises
    ------
    ValueError
        If they cannot: forks need Linux, and share no GPU.
    """
    if processes == 1:
        return
    if sys.platform != "linux":
        raise ValueError(
            f"processes is {processes}; accepted is 1 on {sys.platform}: others are forked, which "
            "is safe on Linux only"
        )
    if device.type != "cpu":
        raise ValueError(
            f"processes is {processes}; accepted is 1 on {device}: forks share no GPU, which runs "
            "children in larger batches instead (memory)"
        )


def in_processes(
    work: Callable[[int], T], n: int, *, watch: Callable[[], object] = lambda: None
) -> list[T]:
    """Call ``work(0)`` to ``work(n - 1)``, each in a fork of this process with one torch thread.

    No fork outlives the call, nor this process if it is killed.

    Parameters
    ----------
    work
        Gives a part of the result; it must be picklable.
    n
        How many parts there are.
    watch
        Called again and again in this process until the forks have ended.

    Returns
    -------
    list
        What the calls return.

    Raises
    ------
    ProcessRaisedException
        Torch's, with the traceback, if a call fails. The others are ended.
    RuntimeError
        If a fork is killed or interrupted.
    """
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, str(index)) for index in range(n)]
        forks = start_processes(
            _work, args=(work, files), nprocs=n, join=False, start_method="fork"
        )
        try:
            while not forks.join(timeout=_LOOK):
                watch()
        except ProcessExitedException as error:
            raise RuntimeError(
                f"one of {n} processes was ended ({error}): if by lack of memory, fewer processes "
                "or less memory for each will do"
            ) from error
        finally:
            for process in forks.processes:
                process.kill()
                process.join()
        if not all(file.exists() for file in files):
            raise RuntimeError(f"one of {n} processes was interrupted")
        return [pickle.loads(file.read_bytes()) for file in files]


def _work(index: int, work: Callable[[int], T], files: list[Path]) -> None:
    gc.freeze()  # else the collector's look at every object would copy the memory it is in
    torch.set_num_threads(1)  # as in torch's data loaders: threads do not survive a fork
    files[index].write_bytes(pickle.dumps(work(index)))
