"""Run two programs in turns of a few steps, each in a process of its own.

A machine's speed drifts: other programs, clock rates, memory. Two runs one after the other meet
different conditions. Here they advance alternately, some steps each, and meet the same ones. As
each has its own process, neither sees the other's random generators, threads or device memory.
"""

from __future__ import annotations

import multiprocessing
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any, TypeVar

__all__ = ["HandOver", "in_turns"]

T = TypeVar("T")
HandOver = Callable[[], None]


def in_turns(
    tasks: Sequence[Callable[[HandOver], T]], *, preload: Sequence[str] = (), first: int = 0
) -> list[T]:
    """Run tasks alternately; gives their results in the order of the tasks.

    Parameters
    ----------
    tasks
        Each is called in a process of its own with a function. The task calls this when it has
        had its turn; the call returns when it is its turn again. Must be picklable.
    preload
        Modules that all processes have imported from the start.
    first
        Index of the task that begins. After every round the order is reversed, as in A B B A, so
        that a steady drift falls on all alike.

    Raises
    ------
    RuntimeError
        If a task fails; the message ends with its traceback.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(preload))
    workers = []
    for task in tasks:
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, task), daemon=True)
        process.start()
        theirs.close()
        workers.append((process, ours))
    try:
        results = _rounds([connection for _, connection in workers], first)
    finally:
        for process, connection in workers:
            connection.close()
            process.terminate()
            process.join()
    return [results[i] for i in range(len(tasks))]


def _rounds(connections: Sequence[Connection], first: int) -> dict[int, Any]:
    order = [*range(first, len(connections)), *range(first)]
    results: dict[int, Any] = {}
    while len(results) < len(connections):
        for i in order:
            if i not in results:
                connections[i].send("go on")
                state, value = _answer(connections[i])
                if state == "failed":
                    raise RuntimeError(f"task {i} failed:\n{value}")
                if state == "done":
                    results[i] = value
        order.reverse()
    return results


def _answer(connection: Connection) -> tuple[str, Any]:
    try:
        return connection.recv()
    except EOFError:
        return "failed", "its process ended without a word"


def _serve(connection: Connection, task: Callable[[HandOver], Any]) -> None:
    """Run a task in this process, and send its answer."""

    def hand_over() -> None:
        connection.send(("waiting", None))
        connection.recv()

    connection.recv()
    try:
        answer = "done", task(hand_over)
    except Exception:
        answer = "failed", traceback.format_exc()
    connection.send(answer)
