"""Where the states of two models are compared: at tokens, or at words if tokenizers differ.

The teacher reads what the child reads, masks and wrong tokens included: the text of every word is
tokenized anew, and a masked token is the teacher's mask. The states of a word's tokens are averaged
in both models. Words that the teacher has no token for, such as ends of lines, or that lie behind
its longest text are no places, and special tokens, but for the mask, neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import nni_bootstrap  # noqa: F401
import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ..tokenization import special_ids

__all__ = ["Places", "TokenPlaces", "WordPlaces"]

MARKS = ("Ġ", "Ċ", "▁")
"""What begins a token that begins a word, unless other tokens are marked with ``##``."""


@dataclass(frozen=True)
class Places:
    """What the teacher reads of a batch, and where both models are compared.

    Parameters
    ----------
    ids, mask
        Of the teacher, ``(batch, seq)``.
    real
        ``(batch, place)``, true where there is a place.
    child, teacher
        Shares of tokens in places, ``(batch, place, seq)``; ``None`` if places are tokens.
    """

    ids: Tensor
    mask: Tensor
    real: Tensor
    child: Tensor | None = None
    teacher: Tensor | None = None

    def of_child(self, states: Tensor) -> Tensor:
        """A child's states at the places, ``(batch, place, width)``, of those of its tokens."""
        return states if self.child is None else self.child @ states.to(self.child.dtype)

    def of_teacher(self, states: Tensor) -> Tensor:
        """The teacher's states at the places."""
        return states if self.teacher is None else self.teacher @ states.to(self.teacher.dtype)


class TokenPlaces:
    """Every token is a place: both models have one vocabulary."""

    def __call__(self, token_ids: Tensor, mask: Tensor) -> Places:
        """Find the places of a batch, ``(batch, seq)`` ids and a mask, nonzero where real."""
        return Places(token_ids, mask.long(), mask != 0)


class WordPlaces:
    """Every word is a place.

    Parameters
    ----------
    child, teacher
        The tokenizers.
    mask
        The teacher's mask token; without one, masked words are no places.
    max_length
        The longest text that the teacher takes, in its tokens.

    Raises
    ------
    ValueError
        If the child's vocabulary does not tell where words begin.
    """

    def __init__(
        self, child: Tokenizer, teacher: Tokenizer, mask: str | None, max_length: int
    ) -> None:
        self._child, self._special = child, special_ids(child)
        self._mask = mask or ""
        self._names = [child.id_to_token(token) or "" for token in range(child.get_vocab_size())]
        self._has_pieces = any(name.startswith("##") for name in self._names)
        self._begins = _begins(self._names)
        self._teacher = Tokenizer.from_str(teacher.to_str())
        self._teacher.no_padding()
        self._teacher.enable_truncation(max_length)
        self._text = lru_cache(maxsize=2**16)(self._text_of)

    def __call__(self, token_ids: Tensor, mask: Tensor) -> Places:
        """Find the places of a batch; see :class:`TokenPlaces`."""
        ids = token_ids.cpu()
        numbers = self._word_numbers(ids, mask.cpu() != 0)
        words = [_grouped(*row) for row in zip(ids.tolist(), numbers.tolist(), strict=True)]
        texts = [[self._text(tokens) for tokens in row] for row in words]
        read = self._teacher.encode_batch(texts, is_pretokenized=True)
        theirs = _padded([torch.tensor(one.ids) for one in read])
        of_theirs = _padded(
            [torch.tensor([-1 if n is None else n for n in one.word_ids]) for one in read], -1
        )
        n_words = max(map(len, words))
        shares = [_shares(each, n_words).to(token_ids.device) for each in (numbers, of_theirs)]
        real = (shares[0].sum(-1) > 0) & (shares[1].sum(-1) > 0)
        lengths = torch.tensor([len(one.ids) for one in read])
        seen = torch.arange(theirs.shape[1]) < lengths[:, None]
        device = token_ids.device
        return Places(theirs.to(device), seen.long().to(device), real, *shares)

    def _word_numbers(self, ids: Tensor, real: Tensor) -> Tensor:
        """Number of every token's word, from 0, and -1 where there is none."""
        masked = ids == self._special.mask
        special = (torch.isin(ids, torch.tensor(self._special.every)) & ~masked) | ~real
        alone = masked | special
        before = torch.cat([torch.ones_like(alone[:, :1]), alone[:, :-1]], dim=1)
        starts = (self._begins[ids] | alone | before) & ~special
        return torch.where(special, -1, starts.long().cumsum(-1) - 1)

    def _text_of(self, tokens: tuple[int, ...]) -> str:
        if tokens == (self._special.mask,):
            return self._mask
        if self._has_pieces:
            text = "".join(self._names[token].removeprefix("##") for token in tokens)
        else:
            text = self._child.decode(list(tokens)).strip()
        return f" {text}" if text else ""  # with the space that byte-level tokenizers count on


def _begins(names: Sequence[str]) -> Tensor:
    """Whether each token of a vocabulary begins a word."""
    if any(name.startswith("##") for name in names):
        return torch.tensor([not name.startswith("##") for name in names])
    begins = torch.tensor([name.startswith(MARKS) for name in names])
    if not begins.any():
        raise ValueError(
            "the child's tokenizer has no token that begins or continues a word; accepted are "
            f"tokenizers that mark them with ##, {', '.join(MARKS)}, or a teacher of its vocabulary"
        )
    return begins


def _grouped(ids: Sequence[int], numbers: Sequence[int]) -> list[tuple[int, ...]]:
    """Tokens of every word of a row."""
    words: list[list[int]] = [[] for _ in range(max(numbers, default=-1) + 1)]
    for token, number in zip(ids, numbers, strict=True):
        if number >= 0:
            words[number].append(token)
    return [tuple(tokens) for tokens in words]


def _padded(rows: list[Tensor], value: int = 0) -> Tensor:
    return pad_sequence(rows, batch_first=True, padding_value=value)


def _shares(numbers: Tensor, n_words: int) -> Tensor:
    """Share of each token in the mean of its word, ``(batch, word, seq)``."""
    member = (numbers[:, None, :] == torch.arange(n_words)[None, :, None]).float()
    return member / member.sum(-1, keepdim=True).clamp(min=1)
