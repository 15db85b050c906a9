"""Files of ``torch.save`` with a digest at their end, and nothing inside that runs code.

``torch.load`` does not check a file's checksums: a flipped bit gives other weights without a word.
The digest stands in the comment of the zip archive that ``torch.save`` writes, where readers that
do not know it, such as ``torch.load`` itself, pass over it.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO

import torch

from ..support.compat import plain_types

__all__ = ["check_seal", "load_plain", "require_readable", "save_sealed"]

MARK = b"nni-magic sha256 "
SEAL = len(MARK) + 64
"""Bytes of the comment: mark and digest in hexadecimal digits."""

END = b"PK\5\6"
"""Begins the last 22 bytes of an archive without a comment; the last two are its length."""


class _Hashing:
    """Passes on what is written, which torch does from front to back, and hashes it."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.digest = hashlib.sha256()
        self.failure: OSError | None = None

    def write(self, data: Any) -> int:
        self.digest.update(data)
        try:
            return self.file.write(data)
        except OSError as error:
            self.failure = error
            raise

    def flush(self) -> None:
        self.file.flush()


def save_sealed(value: Any, file: BinaryIO) -> None:
    """Write a value as ``torch.save`` does, with its digest.

    Raises
    ------
    ValueError
        If the value holds what cannot be pickled.
    OSError
        If the file cannot be written, where torch would speak of a position.
    """
    hashing = _Hashing(file)
    try:
        torch.save(value, hashing)  # type: ignore[arg-type]  # it only writes
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ValueError(f"the checkpoint cannot be written: {error}") from error
    except RuntimeError:
        if hashing.failure is not None:
            raise hashing.failure from None
        raise
    file.seek(-2, os.SEEK_END)
    file.write(SEAL.to_bytes(2, "little") + MARK + hashing.digest.hexdigest().encode())


def check_seal(file: BinaryIO, name: str) -> None:
    """Make sure that a file is as it was written; one without a digest by the zip's checksums.

    Raises
    ------
    ValueError
        If it is cut off, damaged, or no archive at all.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 22))
    last = file.read()
    if last[:4] == END and last[-2:] == b"\0\0":
        whole = _checksums_hold(file)
    else:
        whole = _digest_holds(file, size)
    file.seek(0)
    if not whole:
        raise ValueError(
            f"{name} cannot be read: it is cut off or damaged, or no checkpoint at all"
        )


def _checksums_hold(file: BinaryIO) -> bool:
    try:
        return zipfile.ZipFile(file).testzip() is None
    except Exception:  # zipfile raises all kinds, depending on what is damaged
        return False


def _digest_holds(file: BinaryIO, size: int) -> bool:
    content = size - SEAL - 2  # without the length of the comment, which was zero when hashed
    if content < 0:
        return False
    digest = hashlib.sha256()
    file.seek(0)
    left = content
    while left:
        if not (part := file.read(min(left, 1 << 20))):
            return False
        digest.update(part)
        left -= len(part)
    digest.update(b"\0\0")
    seal = SEAL.to_bytes(2, "little") + MARK + digest.hexdigest().encode()
    return file.read() == seal


def load_plain(file: BinaryIO, name: str, map_location: Any, weights_only: bool = True) -> Any:
    """Read a value of plain types, tensors, numpy's arrays and paths; of any type if it may be.

    Raises
    ------
    ValueError
        Saying what else it holds.
    """
    try:
        with torch.serialization.safe_globals(plain_types()):
            return torch.load(file, map_location=map_location, weights_only=weights_only)
    except Exception as error:  # torch raises all kinds
        file.seek(0)
        if weights_only and (foreign := _foreign(file)):
            raise ValueError(
                f"{name} holds a {foreign[0]}, which is not read, as it could run code; accepted "
                "are plain types, tensors, numpy arrays and paths"
            ) from error
        raise ValueError(f"{name} cannot be read: {error}") from error


def require_readable(value: Any, file: BinaryIO, name: str) -> None:
    """Make sure that :func:`load_plain` reads what was written of a value.

    Raises
    ------
    ValueError
        Naming the place inside the value and the type.
    """
    file.flush()
    file.seek(0)
    if foreign := _foreign(file):
        place = next(_places(value, set(foreign)), "")
        raise ValueError(
            f"{name}{place} is a {foreign[0]}, which cannot be read again safely; accepted are "
            "plain types, tensors, numpy arrays and paths"
        )


def _foreign(file: BinaryIO) -> list[str]:
    """Names of types that a file holds and that :func:`load_plain` does not read."""
    try:
        with torch.serialization.safe_globals(plain_types()):
            return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(file))
    except Exception:  # a pickle that torch cannot even take apart
        return []


def _places(value: Any, foreign: set[str], place: str = "") -> Iterator[str]:
    """Where inside nested containers the objects of some types are, as one would index them."""
    kind = value if isinstance(value, type) else type(value)
    if f"{kind.__module__}.{kind.__qualname__}" in foreign:
        yield place
    elif isinstance(value, Mapping):
        for key, one in value.items():
            yield from _places(one, foreign, f"{place}[{key!r}]")
    elif isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        for index, one in enumerate(value):
            yield from _places(one, foreign, f"{place}[{index}]")
