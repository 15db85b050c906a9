"""Claims on files that several processes could make: each is made by one of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

__all__ = ["claimed"]


@contextlib.contextmanager
def claimed(path: Path) -> Iterator[bool]:
    """Tell whether no other process works on a file.

    The claim lies beside the file, as ``<name>.lock``. It ends with the block, or with the process
    when that is killed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path.with_suffix(".lock"))
    try:
        lock.acquire(blocking=False)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()
