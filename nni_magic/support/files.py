"""Write files so that a reader never meets half of one."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

__all__ = ["atomic_file", "read_json", "write_json"]


@contextmanager
def atomic_file(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """Open a temporary file for writing, and move it to ``path`` when the block ends well.

    Two processes that write the same path at once both succeed, the later one wins, and a reader
    sees either whole file. An exception removes the temporary file. A killed process leaves it
    behind (``.<name>.*.tmp``), where nothing reads it.

    Parameters
    ----------
    path
        Where the finished file lies. Missing parent folders are made.

    Yields
    ------
    BinaryIO
        The temporary file, in the folder of ``path`` because a move is only atomic within one
        file system.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp's 0600 would lock out others who share the cache
        os.replace(temporary, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def read_json(path: Path) -> Any:
    """Read a JSON file; ``None`` if it is not there."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file at once; see :func:`atomic_file`."""
    with atomic_file(path) as file:
        file.write((json.dumps(value, indent=2) + "\n").encode())
