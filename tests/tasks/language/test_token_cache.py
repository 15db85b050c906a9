"""Packing and the memory-mapped files."""

import os
import random

import numpy as np
import pytest

from nni_magic.tasks.language.token_cache import (
    check_rows,
    encode_documents,
    pack_document,
    token_dtype,
    write_rows,
)
from nni_magic.tasks.language.tokenization import SpecialIds, special_ids, train_tokenizer

SPECIAL = SpecialIds(start=0, end=2, pad=1, mask=4, every=(0, 1, 2, 3, 4))


def pack_by_hand(ids, length):
    rows = []
    for start in range(0, len(ids), length - 2):
        piece = ids[start : start + length - 2]
        if len(piece) < length // 8:
            continue
        row = [SPECIAL.start, *piece, SPECIAL.end]
        rows.append(row + [SPECIAL.pad] * (length - len(row)))
    return rows


@pytest.mark.parametrize("length", [8, 16, 33])
@pytest.mark.parametrize("n_tokens", [*range(20), 28, 60, 61, 62, 63, 64, 65, 100])
def test_pack_document_equals_a_loop(length, n_tokens):
    ids = list(range(10, 10 + n_tokens))
    rows = pack_document(ids, length, SPECIAL)
    assert rows.shape[1] == length
    assert rows.tolist() == pack_by_hand(ids, length)


def test_pack_document_refuses_short_rows():
    with pytest.raises(
        ValueError, match="max_length is 7; accepted are whole numbers of at least 8"
    ):
        pack_document([1], 7, SPECIAL)


@pytest.mark.parametrize("value", ["64", 64.0, True])
def test_max_length_of_another_type(value):
    with pytest.raises(ValueError, match=f"max_length is {value!r}; accepted are whole numbers"):
        pack_document([1], value, SPECIAL)


def test_rows_decode_to_their_documents():
    documents = ["the cat sat on the mat " * 9, "a dog", "more than one batch " * 3] * 40
    tokenizer = train_tokenizer(documents, 300)
    special = special_ids(tokenizer)
    blocks = list(encode_documents(documents, tokenizer, 16, special))
    assert len(blocks) == len(documents)
    for document, rows in zip(documents, blocks, strict=True):
        kept = [token for row in rows for token in row if token not in special.every]
        assert document.startswith(tokenizer.decode(kept))
        assert len(document) - len(tokenizer.decode(kept)) <= 8


@pytest.mark.parametrize(("vocab_size", "dtype"), [(65536, "<u2"), (65537, "<u4")])
def test_written_rows_come_back(tmp_path, vocab_size, dtype):
    blocks = [np.full((n, 16), vocab_size - 1 - n) for n in (3, 0, 1000)]
    path = tmp_path / "rows.npy"
    assert write_rows(path, blocks, 16, token_dtype(vocab_size)) == 1003
    rows = np.load(path, mmap_mode="r")
    assert isinstance(rows, np.memmap)
    assert rows.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(rows, np.concatenate(blocks))


def test_no_rows_leave_no_file(tmp_path):
    with pytest.raises(ValueError, match="no document has 2 tokens or more"):
        write_rows(tmp_path / "rows.npy", [np.empty((0, 16))], 16, np.dtype("<u2"))
    assert os.listdir(tmp_path) == []


def test_failing_source_leaves_no_file(tmp_path):
    def blocks():
        yield np.zeros((5, 16))
        raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        write_rows(tmp_path / "rows.npy", blocks(), 16, np.dtype("<u2"))
    assert os.listdir(tmp_path) == []


def test_damaged_tokens_are_named(tmp_path):
    rows = np.arange(64 * 8).reshape(64, 8)
    write_rows(path := tmp_path / "tokens.npy", [rows], 8, np.dtype("<u2"))
    check_rows(path)
    assert np.array_equal(np.load(path, mmap_mode="r"), rows)
    whole, draw = path.read_bytes(), random.Random(0)
    for attempt in range(100):
        content = bytearray(whole)
        if attempt % 5:
            content[draw.randrange(len(whole))] ^= 1 << draw.randrange(8)
        else:
            del content[draw.randrange(len(whole)) :]
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"tokens '\S+tokens.npy' are damaged; remove the fil"):
            check_rows(path)


@pytest.mark.parametrize("other", [np.zeros((4, 6), np.uint16), np.zeros((4, 8))])
def test_tokens_that_others_wrote_are_named(tmp_path, other):
    np.save(path := tmp_path / "tokens.npy", other)
    with pytest.raises(ValueError, match="are damaged; remove the file to have it made anew"):
        check_rows(path)
