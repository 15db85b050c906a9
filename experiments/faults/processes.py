"""Processes that begin with everything imported, so that a run costs no more than itself.

Imports take longer than the short runs that are killed. A server imports once, in one thread, and
the workers are forked from it; a worker forks each run, and so can kill it and see how it ended.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any, TypeVar

__all__ = ["PRELOADED", "forked", "in_workers", "last_line"]

PRELOADED = "experiments.faults.preloaded"
"""Imported by the server: programs, tasks and strategies."""

Result = TypeVar("Result")


def in_workers(
    function: Callable[..., Result], jobs: Iterable[Sequence[Any]], workers: int
) -> list[Result]:
    """Call a function with each job's arguments, several at a time; gives results in order.

    Each is called in a process that has imported :data:`PRELOADED`, and has one thread.
    """
    os.environ |= {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([PRELOADED])
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        futures = {pool.submit(function, *job): n for n, job in enumerate(jobs)}
        for done, future in enumerate(as_completed(futures), start=1):
            future.result()
            if done % 50 == 0:
                print(f"  {done} of {len(futures)}", file=sys.stderr, flush=True)
        return [future.result() for future in futures]


def forked(
    function: Callable[..., object],
    *arguments: Any,
    log: Path,
    kill_after: float | None = None,
    timeout: float = 300,
) -> int:
    """Call a function in a forked process; gives its exit status, ``-9`` if it was killed.

    Parameters
    ----------
    log
        File that what it prints is added to.
    kill_after
        Seconds after which it gets a ``SIGKILL``, if it still runs.
    timeout
        Seconds after which it counts as hanging.

    Raises
    ------
    TimeoutError
        If it hangs.
    """
    context = multiprocessing.get_context("fork")
    process = context.Process(target=_logged, args=(function, arguments, log))
    process.start()
    process.join(timeout if kill_after is None else kill_after)
    hangs = process.is_alive()
    if hangs:
        process.kill()
        process.join()
    if hangs and kill_after is None:
        raise TimeoutError(f"{function.__name__} ran for longer than {timeout} s; see {log}")
    status = process.exitcode
    assert status is not None
    return status


def _logged(function: Callable[..., object], arguments: Sequence[Any], log: Path) -> None:
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    function(*arguments)


def last_line(log: Path) -> str:
    """What a process said at last, such as its error."""
    lines = log.read_text(errors="replace").split("\n") if log.exists() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
