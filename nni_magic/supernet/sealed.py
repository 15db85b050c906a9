"""Files of ``torch.save`` with a digest at their end, and nothing inside that runs code.

``torch.load`` does not check a file's checksums: a flipped bit gives other weights without a word.
``torch.save`` writes a zip archive with a checksum of each tensor, which costs nothing more to keep
to. What no checksum is of, such as the archive's list of its records, has a digest. It stands in
the archive's comment, where readers that do not know it, such as ``torch.load``, pass over it.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import pickle
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO

import torch
from torch import _weights_only_unpickler as torch_reader
from torch.serialization import get_crc32_options, set_crc32_options

from ..support.compat import plain_types

__all__ = ["check_seal", "load_plain", "save_sealed"]

MARK = b"nni-magic records sha256 "
DIGEST = 64
"""Bytes of the digest in hexadecimal digits; mark and digest are the comment."""

END = b"PK\5\6"
"""Begins the last 22 bytes of an archive without a comment; the last two are its length."""

LOCAL = 30
"""Bytes before the name of a record, of which the last four are the lengths of what follows."""


class _Archive:
    """A finished archive: its records, and what lies around them."""

    def __init__(self, file: BinaryIO) -> None:
        self.content = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        with zipfile.ZipFile(file) as archive:
            self.records = archive.infolist()

    def data(self, record: zipfile.ZipInfo) -> memoryview:
        """Bytes of a record."""
        begin = self._begin(record)
        return self.content[begin : begin + record.compress_size]

    def digest(self, end: int | None = None) -> bytes:
        """Digest of all bytes up to ``end`` that are of no record."""
        digest = hashlib.sha256()
        position = 0
        for record in self.records:
            begin = self._begin(record)
            digest.update(self.content[position:begin])
            position = begin + record.compress_size
        digest.update(self.content[position:end])
        return digest.hexdigest().encode()

    def whole(self) -> bool:
        """Whether all is as it was written."""
        end = len(self.content) - DIGEST
        return (
            self.content[end - len(MARK) : end] == MARK
            and self.content[end:] == self.digest(end)
            and all(zlib.crc32(self.data(record)) == record.CRC for record in self.records)
        )

    def _begin(self, record: zipfile.ZipInfo) -> int:
        last = record.header_offset + LOCAL
        return last + sum(struct.unpack("<HH", self.content[last - 4 : last]))


def save_sealed(value: Any, file: BinaryIO, name: str) -> None:
    """Write a value as ``torch.save`` does, with a digest; :func:`load_plain` can read it.

    Parameters
    ----------
    value
        Containers of plain types, tensors, numpy's arrays and paths.
    file
        Empty, on a disk, and open for reading, too.
    name
        What the value is called in messages.

    Raises
    ------
    ValueError
        If the value holds what cannot be pickled, or not be read again; naming the place inside
        the value and the type.
    OSError
        If the file cannot be written.
    """
    _save(value, file, name)
    file.seek(-2, os.SEEK_END)
    file.write((len(MARK) + DIGEST).to_bytes(2, "little") + MARK)
    file.write(b"0" * DIGEST)
    file.flush()
    archive = _Archive(file)
    _require_readable(value, archive, file, name)
    file.seek(-DIGEST, os.SEEK_END)
    file.write(archive.digest(-DIGEST))


def _save(value: Any, file: BinaryIO, name: str) -> None:
    before = get_crc32_options()
    set_crc32_options(True)
    try:
        torch.save(value, file)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ValueError(f"{name} cannot be written: {error}") from error
    except RuntimeError:
        file.flush()  # if the disk is full it says so again, where torch speaks of a position
        raise
    finally:
        set_crc32_options(before)


def check_seal(file: BinaryIO, name: str) -> None:
    """Make sure that a file is as it was written; one without a digest by the zip's checksums.

    Raises
    ------
    ValueError
        If it is cut off, damaged, or no archive at all.
    """
    file.seek(max(0, file.seek(0, os.SEEK_END) - 22))
    last = file.read()
    try:
        if last[:4] == END and last[-2:] == b"\0\0":
            whole = zipfile.ZipFile(file).testzip() is None
        else:
            whole = _Archive(file).whole()
    except Exception:  # zipfile raises all kinds, depending on what is damaged
        whole = False
    file.seek(0)
    if not whole:
        raise ValueError(
            f"{name} cannot be read: it is cut off or damaged, or no checkpoint at all"
        )


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


def _require_readable(value: Any, archive: _Archive, file: BinaryIO, name: str) -> None:
    """Make sure that :func:`load_plain` reads what was written of a value."""
    pickled = next(r for r in archive.records if r.filename.endswith("/data.pkl"))
    if _may_be_named(archive.data(pickled)) <= _readable():
        return
    file.seek(0)
    if not (foreign := _foreign(file)):
        return
    place = next(_places(value, set(foreign)), "")
    raise ValueError(
        f"{name}{place} is a {foreign[0]}, which cannot be read again safely; accepted are "
        "plain types, tensors, numpy arrays and paths"
    )


def _may_be_named(pickled: memoryview) -> set[str]:
    """Types and functions that a pickle names, and perhaps a text that only looks like one.

    Torch's own search walks through the pickle in Python, which takes a tenth of the time that
    writing does.
    """
    found = re.findall(rb"c([\w.]+)\n([\w.]+)\n", pickled)
    return {f"{module.decode()}.{name.decode()}" for module, name in set(found)}


def _readable() -> set[str]:
    with torch.serialization.safe_globals(plain_types()):
        own = torch_reader._get_user_allowed_globals()
        return {*own, *torch_reader._get_allowed_globals()}


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
