"""Byte-level BPE tokenizers in RoBERTa's manner, trained here or loaded from a file."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from ...support.errors import check_count
from ...support.files import atomic_file

__all__ = [
    "SPECIAL_TOKENS",
    "SpecialIds",
    "load_tokenizer",
    "save_tokenizer",
    "special_ids",
    "tokenizer_digest",
    "train_tokenizer",
    "vocabulary_digest",
]

SPECIAL_TOKENS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
"""Special tokens of a tokenizer trained here; their ids are 0 to 4."""

_MIN_VOCAB = 256 + len(SPECIAL_TOKENS)
# RoBERTa's and BERT's names; a tokenizer from elsewhere may use either.
_ROLES = {
    "start": ("<s>", "[CLS]"),
    "end": ("</s>", "[SEP]"),
    "pad": ("<pad>", "[PAD]"),
    "mask": ("<mask>", "[MASK]"),
}


@dataclass(frozen=True)
class SpecialIds:
    """Ids of the special tokens.

    Parameters
    ----------
    start, end, pad, mask
        Ids of the four tokens that masked-language modelling needs.
    every
        All special ids, ascending: never masked, never a random replacement.
    """

    start: int
    end: int
    pad: int
    mask: int
    every: tuple[int, ...]


def train_tokenizer(documents: Iterable[str], vocab_size: int = 8192) -> Tokenizer:
    """Train a byte-level BPE tokenizer.

    Every byte has a token of its own, so no text is ever unknown; ``<unk>`` exists for tools
    that expect it. A small text gives fewer tokens than asked for.

    Parameters
    ----------
    documents
        Training texts. Leave held-out documents out.
    vocab_size
        Largest vocabulary, special tokens included; at least 261 (256 bytes, 5 special tokens).

    Raises
    ------
    ValueError
        If ``vocab_size`` is too small.
    """
    check_count("vocab_size", vocab_size, at_least=_MIN_VOCAB)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        show_progress=False,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    tokenizer.train_from_iterator(documents, trainer)
    return tokenizer


def load_tokenizer(path: str | os.PathLike) -> Tokenizer:
    """Load a ``tokenizer.json`` file, without the truncation and padding that it may ask for.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is not a tokenizer, or lacks a token that masked-language modelling needs.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"tokenizer is {str(path)!r}; accepted is a tokenizer.json file")
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the package raises plain Exception for whatever it cannot parse
        raise ValueError(f"tokenizer file {str(path)!r} is not a tokenizer: {error}") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    special_ids(tokenizer)
    return tokenizer


def save_tokenizer(tokenizer: Tokenizer, path: str | os.PathLike) -> None:
    """Write ``tokenizer`` to ``path`` atomically."""
    with atomic_file(path) as file:
        file.write(tokenizer.to_str().encode())


def tokenizer_digest(tokenizer: Tokenizer) -> str:
    """Hexadecimal SHA-256 of everything that decides the tokenizer's output."""
    return hashlib.sha256(tokenizer.to_str().encode()).hexdigest()


def vocabulary_digest(vocabulary: Mapping[str, int]) -> str:
    """Hexadecimal SHA-256 of tokens and their ids, whatever else a tokenizer does.

    >>> vocabulary_digest({"a": 0, "b": 1}) == vocabulary_digest({"b": 1, "a": 0})
    True
    """
    return hashlib.sha256(json.dumps(vocabulary, sort_keys=True).encode()).hexdigest()


def special_ids(tokenizer: Tokenizer) -> SpecialIds:
    """Look up the special tokens, under RoBERTa's names or BERT's.

    Raises
    ------
    ValueError
        If a token is missing, naming it and the names that are accepted.
    """
    ids: dict[str, int] = {}
    for role, names in _ROLES.items():
        known = [tokenizer.token_to_id(name) for name in names]
        found = [token_id for token_id in known if token_id is not None]
        if not found:
            raise ValueError(f"tokenizer has no {role} token; accepted are {' and '.join(names)}")
        ids[role] = found[0]
    added = tokenizer.get_added_tokens_decoder()
    every = {token_id for token_id, token in added.items() if token.special} | set(ids.values())
    return SpecialIds(**ids, every=tuple(sorted(every)))
