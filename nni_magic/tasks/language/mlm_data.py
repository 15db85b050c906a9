"""From a corpus to rows of token ids, split by document and cached on disk."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from torch.utils.data import Subset

from ...support.errors import check_count, check_number, naming
from .corpus import Corpus, open_corpus
from .masking import MaskedDataset, TokenDataset
from .token_cache import check_max_length, check_rows, encode_documents, token_dtype, write_rows
from .tokenization import (
    SpecialIds,
    load_tokenizer,
    save_tokenizer,
    special_ids,
    tokenizer_digest,
    train_tokenizer,
)

__all__ = ["MlmData", "held_out_rule", "prepare"]

_logger = logging.getLogger(__name__)
_FORMAT = 2  # raise it when the files' content changes for the same settings


def held_out_rule(documents: Iterable[str], fraction: float, seed: int) -> Callable[[str], bool]:
    """Choose the documents with the smallest seeded hashes for the held-out split.

    The choice depends on content only: order does not matter, and copies of one document always
    land on the same side. At least one document is held out.

    Parameters
    ----------
    documents
        All documents; read once.
    fraction
        Share to hold out, in (0, 1).
    seed
        Any non-negative integer.

    Returns
    -------
    Callable
        Tells for a document whether it is held out.

    Raises
    ------
    ValueError
        If nothing would be left to train on.
    """
    check_number("held_out", fraction, above=0, below=1)
    check_count("seed", seed, at_least=0, at_most=2**64 - 1)  # its digits key a hash
    key = str(seed).encode()

    def rank(document: str) -> bytes:
        return hashlib.blake2b(document.encode(), digest_size=16, key=key).digest()

    ranks = sorted(map(rank, documents))
    last = ranks[max(1, round(fraction * len(ranks))) - 1]
    if last == ranks[-1]:
        raise ValueError(
            f"held_out={fraction} leaves no training document: the corpus has "
            f"{len(set(ranks))} different document(s), and at least 2 are needed"
        )
    return lambda document: rank(document) <= last


@dataclass(frozen=True)
class MlmData:
    """What :func:`prepare` returns.

    Parameters
    ----------
    train
        Unmasked training rows.
    validation
        Held-out rows with fixed masks.
    tokenizer
        The tokenizer, and ``special`` and ``vocab_size`` read from it.
    max_length
        Length of a row.
    corpus_digest, tokenizer_digest
        SHA-256 of what the data were made from, for the record of a run.
    """

    train: TokenDataset
    validation: MaskedDataset | Subset
    tokenizer: Tokenizer
    special: SpecialIds
    vocab_size: int
    max_length: int
    corpus_digest: str
    tokenizer_digest: str


def prepare(
    corpus_spec: str | os.PathLike | Sequence[str | os.PathLike] | Corpus,
    cache_dir: str | os.PathLike,
    vocab_size: int = 8192,
    max_length: int = 128,
    *,
    tokenizer: str | os.PathLike | None = None,
    held_out: float = 0.05,
    seed: int = 0,
) -> MlmData:
    """Build the data sets, or find them in the cache.

    Parameters
    ----------
    corpus_spec
        See :mod:`nni_magic.tasks.language.corpus`; or a
        :class:`~nni_magic.tasks.language.corpus.Corpus`.
    cache_dir
        Folder for the tokenizer and the token files. Several processes may use it at once.
    vocab_size
        Size of the tokenizer to train; ignored with ``tokenizer``.
    max_length
        Tokens in a row, ``<s>`` and ``</s>`` included.
    tokenizer
        A ``tokenizer.json`` file to use instead of training one.
    held_out
        Share of the documents to validate on.
    seed
        Of the split and of the validation masks. Keep it when runs with different training
        seeds are compared.

    Raises
    ------
    FileNotFoundError, ModuleNotFoundError, ValueError
        As :func:`~nni_magic.tasks.language.corpus.open_corpus`, :func:`held_out_rule` and
        :func:`~nni_magic.tasks.language.tokenization.load_tokenizer`.
    """
    check_max_length(max_length)
    corpus = corpus_spec if isinstance(corpus_spec, Corpus) else open_corpus(corpus_spec)
    split = _Split(corpus, held_out, seed)
    cache = Path(cache_dir)
    if tokenizer is not None:
        loaded = load_tokenizer(tokenizer)
    else:
        loaded = _trained_tokenizer(split, cache, vocab_size)
    digest = tokenizer_digest(loaded)
    train, validation = _token_files(split, cache, loaded, digest, max_length)
    special, size = special_ids(loaded), loaded.get_vocab_size()
    return MlmData(
        train=TokenDataset(train),
        validation=MaskedDataset(validation, special, size, seed=seed),
        tokenizer=loaded,
        special=special,
        vocab_size=size,
        max_length=max_length,
        corpus_digest=corpus.digest,
        tokenizer_digest=digest,
    )


@dataclass(frozen=True)
class _Split:
    """A corpus and its split, worked out only when the cache does not have the answer."""

    corpus: Corpus
    held_out: float
    seed: int

    @cached_property
    def rule(self) -> Callable[[str], bool]:
        with naming(f"corpus {self.corpus.name!r}"):
            return held_out_rule(self.corpus, self.held_out, self.seed)

    def documents(self, *, held_out: bool) -> Iterable[str]:
        return (document for document in self.corpus if self.rule(document) == held_out)

    def key(self, **settings: Any) -> str:
        settings.update(
            format=_FORMAT, corpus=self.corpus.digest, held_out=self.held_out, seed=self.seed
        )
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:20]


def _trained_tokenizer(split: _Split, cache: Path, vocab_size: int) -> Tokenizer:
    path = cache / f"tokenizer-{split.key(vocab_size=vocab_size)}.json"
    if not path.exists():
        _logger.info("Training a tokenizer on corpus %r.", split.corpus.name)
        save_tokenizer(train_tokenizer(split.documents(held_out=False), vocab_size), path)
    # Read back even when just trained: the digest is then that of the file, in every process.
    return load_tokenizer(path)


def _token_files(
    split: _Split, cache: Path, tokenizer: Tokenizer, digest: str, max_length: int
) -> list[Path]:
    special, dtype = special_ids(tokenizer), token_dtype(tokenizer.get_vocab_size())
    key = split.key(tokenizer=digest, max_length=max_length)
    paths = []
    for held_out, name in ((False, "train"), (True, "held_out")):
        path = cache / f"tokens-{key}-{name}.npy"
        paths.append(path)
        if not path.exists():
            documents = split.documents(held_out=held_out)
            rows = encode_documents(documents, tokenizer, max_length, special)
            _logger.info("Tokenizing corpus %r: %s documents.", split.corpus.name, name)
            with naming(f"corpus {split.corpus.name!r}, {name} documents"):
                n_rows = write_rows(path, rows, max_length, dtype)
            _logger.info("Wrote %d rows of %s tokens to %s.", n_rows, name, path)
        else:
            check_rows(path)
    return paths
