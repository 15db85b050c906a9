"""Let one run at a time write into a folder."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

__all__ = ["sole_writer"]


@contextlib.contextmanager
def sole_writer(path: Path, name: str, *, patience: float = 0) -> Iterator[None]:
    """Refuse a folder that another process writes into, and keep others off while the block runs.

    The lock is the system's, on the folder itself: it ends with the process, even a killed one,
    and leaves no file. On a file system without locks nothing is refused.

    Parameters
    ----------
    path
        The folder, or a file that stands for what is written; both must be there.
    name
        What it is called in the message, such as the setting that gave it.
    patience
        Seconds to wait for another process to end before the folder is refused.

    Raises
    ------
    ValueError
        If another process holds the lock.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        _lock(handle, time.monotonic() + patience)
    except BlockingIOError:
        os.close(handle)
        raise ValueError(
            f"{name} is {str(path)!r}, into which another run writes now; accepted are folders of "
            "no running one"
        ) from None
    except OSError:  # no locks there
        pass
    try:
        yield
    finally:
        os.close(handle)


def _lock(handle: int, deadline: float) -> None:
    while True:
        try:
            return fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise
        time.sleep(0.1)
