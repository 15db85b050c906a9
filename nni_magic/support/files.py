"""Write files so that a reader never meets half of one."""

from __future__ import annotations

import csv
import errno
import fcntl
import hashlib
import io
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from .kinds import fits, in_words

__all__ = [
    "atomic_file", "check_record", "file_digest", "filled_folder", "make_folder", "read_json",
    "read_record", "replacing_folder", "write_json", "write_picture", "write_table",
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
    """Give a new folder that takes the place of ``target`` when the block has succeeded.

    Where ``target`` is a link the folder that it leads to is replaced, and the link stays.

    Raises
    ------
    ValueError
        If it is the folder that this process works in.
    """
    target = target.resolve()
    if target == Path.cwd():
        raise ValueError(
            f"target is {str(target)!r}, where this process works; accepted are other folders, as "
            "the folder is replaced"
        )
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


def make_folder(name: str, path: Path) -> Path:
    """Make a folder with its parents, unless it is there, and give it.

    Parameters
    ----------
    name
        Of the setting that it is given as.

    Raises
    ------
    ValueError
        If it cannot be made, or not be written into.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        problem = None if os.access(path, os.W_OK | os.X_OK) else os.strerror(errno.EACCES)
    except OSError as error:
        problem = error.strerror
    if problem is not None:
        raise ValueError(
            f"{name} is {str(path)!r}; accepted are folders to write into: {problem}"
        )
    return path


@contextmanager
def filled_folder(name: str, path: Path) -> Iterator[Path]:
    """Make a folder as :func:`make_folder` does; if the block fails, no new one stays empty."""
    new = [each for each in (path, *path.parents) if not each.exists()]
    try:
        yield make_folder(name, path)
    except BaseException:
        with suppress(OSError):  # it is not empty, or not there
            for each in new:
                each.rmdir()
        raise


def file_digest(path: str | os.PathLike[str]) -> str:
    """The SHA-256 digest of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_json(path: Path) -> Any:
    """Read a JSON file; ``None`` if it is not there.

    Raises
    ------
    ValueError
        Naming the file, if it is no JSON, holds only ``null``, or a key twice.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_once_each)
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{str(path)!r} is damaged, or no JSON at all: {error}") from error
    if found is None:
        raise ValueError(f"{str(path)!r} is damaged: it holds null")
    return found


def _once_each(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"key {next(key for key in keys if keys.count(key) > 1)!r} is there twice")
    return found


def read_record(path: Path, **kinds: Any) -> dict[str, Any] | None:
    """Read a JSON file that holds values by name; ``None`` if it is not there.

    Parameters
    ----------
    path
        The file.
    **kinds
        Types of the values that it must hold; see :func:`nni_magic.support.kinds.fits`.

    Raises
    ------
    ValueError
        Naming the file, and what it lacks or holds of another type.
    """
    record = read_json(path)
    if record is not None:
        check_record(path, record, **kinds)
    return record


def check_record(path: Path, record: Any, **kinds: Any) -> None:
    """Make sure that what was read of a file holds values of some types, by name.

    Raises
    ------
    ValueError
        As :func:`read_record`.
    """
    name = f"{str(path)!r} is damaged"
    if not isinstance(record, dict):
        raise ValueError(f"{name}: it holds {record!r}; accepted are mappings")
    for key, kind in kinds.items():
        if key not in record:
            raise ValueError(f"{name}: it lacks {key!r}")
        if not fits(record[key], kind):
            raise ValueError(
                f"{name}: its {key!r} is {record[key]!r}; accepted are {in_words(kind)}"
            )


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
