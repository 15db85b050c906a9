"""Write files so that a reader never meets half of one."""

from __future__ import annotations

import csv
import fcntl
import io
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

__all__ = [
    "atomic_file", "read_json", "replacing_folder", "write_json", "write_picture", "write_table",
]  # fmt: skip


@contextmanager
def atomic_file(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """Open a temporary file for writing, and move it to ``path`` when the block ends well.

    Two processes that write the same path at once both succeed, the later one wins, and a reader
    sees either whole file. An exception removes the temporary file. A killed process leaves it
    behind (``.<name>.*.tmp``), where nothing reads it, until the path is written again.

    Parameters
    ----------
    path
        Where the finished file lies. Missing parent folders are made.

    Yields
    ------
    BinaryIO
        The temporary file, in the folder of ``path`` because a move is only atomic within one
        file system.

    Raises
    ------
    OSError
        Naming ``path``, if it cannot be written, such as on a full disk.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_left_behind(path)
    file, temporary = _temporary(path)
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            os.chmod(temporary, 0o644)  # mkstemp's 0600 would lock out others who share the cache
            os.replace(temporary, path)  # while the lock is held: until now the file looks alive
    except BaseException as error:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        if (cause := _of_the_system(error)) is not None:
            raise OSError(cause.errno, cause.strerror, str(path)) from error
        raise


def _temporary(path: Path) -> tuple[BinaryIO, str]:
    """A new file beside a path, locked as long as it is open, so that a dead writer's is known."""
    while True:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        with suppress(OSError):  # not every file system has locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:  # else another writer took it for left behind
            return os.fdopen(handle, "w+b"), name
        os.close(handle)


def _remove_left_behind(path: Path) -> None:
    """Remove the temporary files of writers of a path that were killed."""
    ours = re.compile(rf"\.{re.escape(path.name)}\.[a-z0-9_]{{8}}\.tmp")
    for name in filter(ours.fullmatch, os.listdir(path.parent)):
        with suppress(OSError), open(path.parent / name, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # a living writer holds it
            os.unlink(path.parent / name)


def _of_the_system(error: BaseException | None) -> OSError | None:
    """The failed write behind an error without a file's name; torch hides it behind its own."""
    while error is not None:
        if isinstance(error, OSError) and error.errno and error.filename is None:
            return error
        error = error.__cause__ or error.__context__
    return None


@contextmanager
def replacing_folder(target: Path) -> Iterator[Path]:
    """Give a new folder that takes the place of ``target`` when the block has succeeded."""
    new, old = (target.with_name(f".{target.name}.{part}") for part in ("new", "old"))
    for leftover in (new, old):  # of a writer that was killed
        shutil.rmtree(leftover, ignore_errors=True)
    new.mkdir(parents=True)
    try:
        yield new
        if target.exists():
            target.rename(old)
        new.rename(target)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise
    shutil.rmtree(old, ignore_errors=True)


def read_json(path: Path) -> Any:
    """Read a JSON file; ``None`` if it is not there.

    Raises
    ------
    ValueError
        Naming the file, if it is no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ValueError(f"{str(path)!r} is damaged, or no JSON at all: {error}") from error


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file at once; see :func:`atomic_file`."""
    with atomic_file(path) as file:
        file.write((json.dumps(value, indent=2) + "\n").encode())


def write_table(path: str | os.PathLike[str], rows: Iterable[Iterable[Any]]) -> None:
    """Write rows as CSV at once; see :func:`atomic_file`."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    with atomic_file(path) as file:
        file.write(text.getvalue().encode())


def write_picture(figure: Any, path: str | os.PathLike[str], **options: Any) -> None:
    """Write a figure of matplotlib at once, in the format that the name's ending says.

    Parameters
    ----------
    options
        Of its ``savefig``.
    """
    with atomic_file(path) as file:
        figure.savefig(file, format=Path(path).suffix[1:] or None, **options)
