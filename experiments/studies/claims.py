"""Claims on files, so that of several processes only one makes each of them."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from nni_magic.support.files import write_json

__all__ = ["claimed", "make_once"]

_logger = logging.getLogger(__name__)


@contextlib.contextmanager
def claimed(path: Path) -> Iterator[bool]:
    """Claim a file; gives whether it is ours now, and not another process's.

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


def make_once(path: Path, make: Callable[[], Any]) -> None:
    """Write a result, unless it is there, or another process is making it."""
    with claimed(path) as mine:
        if mine and not path.exists():
            write_json(path, make())
            _logger.info("%s", path)
