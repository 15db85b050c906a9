"""Token ids packed into rows of one length and kept in memory-mapped ``.npy`` files."""

from __future__ import annotations

import mmap
import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import numpy as np
from tokenizers import Tokenizer
from tqdm import tqdm

from ...support.errors import check_count
from ...support.files import atomic_file
from .tokenization import SpecialIds

__all__ = [
    "check_max_length", "check_rows", "encode_documents", "pack_document", "token_dtype",
    "write_rows",
]  # fmt: skip

MARK = b"nni-magic crc32 "
SEAL = len(MARK) + 8
"""Bytes at a file's end, where numpy does not look: mark and checksum in hexadecimal digits."""

_BATCH = 64  # documents tokenized at once: enough to keep every core of the tokenizer busy


def token_dtype(vocab_size: int) -> np.dtype:
    """Smallest little-endian unsigned type that holds every id.

    >>> token_dtype(65536), token_dtype(65537)
    (dtype('uint16'), dtype('uint32'))
    """
    return np.dtype("<u2" if vocab_size <= 1 << 16 else "<u4")


def check_max_length(max_length: int) -> None:
    """Refuse rows that could not hold a few tokens beside the two special ones."""
    check_count("max_length", max_length, at_least=8)


def pack_document(token_ids: Sequence[int], max_length: int, special: SpecialIds) -> np.ndarray:
    """Cut one document's tokens into rows ``<s> tokens </s>``.

    Every row but the last is full; the last is padded, and dropped when it holds fewer than
    ``max_length // 8`` tokens, which are too few to learn from.

    Parameters
    ----------
    token_ids
        The document's tokens, without special ones.
    max_length
        Length of a row, the two special tokens included; at least 8.

    Returns
    -------
    numpy.ndarray
        Shape ``(rows, max_length)``, int64; no rows for a tiny document.
    """
    check_max_length(max_length)
    room = max_length - 2
    n_full, tail = divmod(len(token_ids), room)
    if tail < max(1, max_length // 8):
        tail = 0
    n_rows = n_full + (tail > 0)
    body = np.full(n_rows * room, special.pad, dtype=np.int64)
    kept = n_full * room + tail
    body[:kept] = token_ids[:kept]
    rows = np.full((n_rows, max_length), special.pad, dtype=np.int64)
    rows[:, 0] = special.start
    rows[:, 1:-1] = body.reshape(n_rows, room)
    rows[:n_full, -1] = special.end
    if tail:
        rows[-1, tail + 1] = special.end
    return rows


def encode_documents(
    documents: Iterable[str], tokenizer: Tokenizer, max_length: int, special: SpecialIds
) -> Iterator[np.ndarray]:
    """Tokenize and pack documents, a few at a time; a terminal shows how many.

    Yields
    ------
    numpy.ndarray
        The rows of one document, shape ``(rows, max_length)``.
    """
    stream = iter(tqdm(documents, desc="Tokens", unit=" documents", disable=None))
    while batch := list(islice(stream, _BATCH)):
        # The fast variant leaves out character offsets, which nobody here reads.
        for encoding in tokenizer.encode_batch_fast(batch, add_special_tokens=False):
            yield pack_document(encoding.ids, max_length, special)


def write_rows(
    path: str | os.PathLike, blocks: Iterable[np.ndarray], max_length: int, dtype: np.dtype
) -> int:
    """Stream blocks of rows into one ``.npy`` file, atomically and in constant memory.

    Parameters
    ----------
    path
        The file; read it with ``numpy.load(path, mmap_mode="r")``.
    blocks
        Arrays of shape ``(rows, max_length)``.
    dtype
        Type on disk.

    Returns
    -------
    int
        Number of rows written.

    Raises
    ------
    ValueError
        If there are none: no file is left then.
    """
    n_rows = 0
    with atomic_file(path) as file:
        _write_header(file, 0, max_length, dtype)
        start = file.tell()
        for block in blocks:
            file.write(block.astype(dtype).tobytes())
            n_rows += len(block)
        if n_rows == 0:
            raise ValueError(f"no document has {max(1, max_length // 8)} tokens or more")
        file.seek(0)
        _write_header(file, n_rows, max_length, dtype)
        assert file.tell() == start, "numpy pads its header so that the row count can grow"
        file.seek(0, os.SEEK_END)
        file.flush()
        file.write(_seal(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)))
    return n_rows


def check_rows(path: str | os.PathLike) -> None:
    """Make sure that a file is as :func:`write_rows` wrote it.

    Raises
    ------
    ValueError
        If it is not.
    """
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        if size > SEAL:
            content = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
            if content[-SEAL:] == _seal(content[:-SEAL]):
                return
    raise ValueError(f"tokens {str(path)!r} are damaged; remove the file to have it made anew")


def _seal(content: mmap.mmap | memoryview) -> bytes:
    return MARK + f"{zlib.crc32(content):08x}".encode()


def _write_header(file, n_rows: int, max_length: int, dtype: np.dtype) -> None:
    shape = (n_rows, max_length)
    header = {"descr": dtype.str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
