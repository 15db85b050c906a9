"""How the ranks of a distributed training end: together, and with the error that was the first.

A collective of torch tells only that its peers are gone or late: after an error of one rank the
others would end with that, and after a rank has stopped, none could say which. So every rank
whose training fails leaves its error in the store by which the ranks have found each other, and
reads what the others have left. Where not all have failed at the same time, it lets go of the
collectives that the others wait in; then the process group is gone. Where all have, as when a
setting is refused, it stays, and the same processes may train something else.
"""

from __future__ import annotations

import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from typing import Any

import pytorch_lightning as pl
import torch.distributed as dist

from ..support.errors import RankError

__all__ = ["ending_together"]

GRACE = 15.0
"""Seconds in which the other ranks are expected to end, too, once nothing holds them."""

TOGETHER = 8.0
"""Seconds within which ranks that fail at the same place fail."""

_failures = count()
"""Numbers the failures, so that each has keys of its own in the store."""

NO_ERROR = "-"
"""Left by a rank that knows only that the connection to others was lost."""

LOST = re.compile(
    r"gloo|nccl|connection (closed|reset|refused)|broken pipe|pair closure|timed out waiting",
    re.IGNORECASE,
)
"""What collectives say when others are gone or late."""


@contextmanager
def ending_together(trainer: pl.Trainer) -> Iterator[None]:
    """End with the error of the rank that raised one, or name the ranks that do not answer.

    Parameters
    ----------
    trainer
        Trains in the block. The time-out is that of its strategy, such as
        ``DDPStrategy(timeout=...)``; torch's own is half an hour.

    Raises
    ------
    RankError
        If another rank has raised an error, or does not answer, or the ranks have not found each
        other. Errors of this rank stay.
    """
    try:
        yield
    except Exception as error:
        if not dist.is_available():
            raise
        if dist.is_initialized() and dist.get_world_size() > 1:
            _end(error, trainer)
        elif isinstance(error, dist.DistError):
            raise RankError(
                "the ranks have not found each other within the time-out of the strategy: "
                + str(error).partition("\n")[0]
            ) from error
        raise


def _end(error: Exception, trainer: pl.Trainer) -> None:
    """Tell the others of an error; raise theirs if it says only that they are gone or late."""
    rank, size = dist.get_rank(), dist.get_world_size()
    own = NO_ERROR if _is_lost(error) else f"{type(error).__name__}: {error}"
    told = _within(TOGETHER + GRACE + 5, lambda: _exchanged(rank, size, own)) or {rank: own}
    missing = [other for other in range(size) if other not in told]
    if missing and rank == 0:
        _end_stopped(trainer)
    errors = {other: one for other, one in told.items() if one != NO_ERROR}
    if rank in errors:
        return
    if errors:
        first = min(errors)
        raise RankError(f"rank {first} of {size} has ended with {errors[first]}") from error
    if missing:
        raise RankError(
            f"rank {', '.join(map(str, missing))} of {size} does not answer: it was stopped or "
            "killed, or is slower than the time-out of the training's strategy allows"
        ) from error


def _is_lost(error: BaseException) -> bool:
    """Whether an error says that others are gone or late, and nothing of this rank."""
    return isinstance(error, dist.DistError) or (
        isinstance(error, RuntimeError) and LOST.search(str(error)) is not None
    )


def _exchanged(rank: int, size: int, own: str) -> dict[int, str]:
    """Leave an error, release whoever waits for this rank, and give what the ranks have left."""
    store = dist.distributed_c10d._get_default_store()
    failure = next(_failures)
    keys = {other: f"nni_magic/end/{failure}/{other}" for other in range(size)}
    store.set(keys[rank], own)

    def present(named: dict[int, str]) -> list[int]:
        return [other for other, key in named.items() if store.check([key])]

    if not _until(lambda: len(present(keys)) == size, TOGETHER):
        dist.destroy_process_group()
        _until(lambda: len(present(keys)) == size, GRACE)
    found = {other: store.get(keys[other]).decode() for other in present(keys)}
    read = {other: f"nni_magic/read/{failure}/{other}" for other in found}
    store.set(read[rank], "")
    if rank == 0:  # the store ends with this process
        _until(lambda: len(present(read)) == len(read), GRACE / 3)
    return found


def _until(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait for a condition; gives whether it holds."""
    end = time.monotonic() + seconds
    while not (holds := condition()) and time.monotonic() < end:
        time.sleep(0.1)
    return holds


def _within(seconds: float, function: Callable[[], Any]) -> Any:
    """What a function gives, or ``None`` if it fails or takes too long: its peers may hang."""
    found: list[Any] = []

    def run() -> None:
        with suppress(Exception):
            found.append(function())

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    return found[0] if found else None


def _end_stopped(trainer: pl.Trainer) -> None:
    """End the processes that this one has started and that have not ended."""
    launcher = trainer.strategy.launcher
    if launcher is not None and hasattr(launcher, "kill"):
        launcher.kill(signal.SIGKILL)
