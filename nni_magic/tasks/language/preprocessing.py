"""From texts to what a child of the BERT space takes, as the rows that it was trained on."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import nni_bootstrap  # noqa: F401
import torch
from tokenizers import Tokenizer
from tokenizers.processors import BertProcessing, RobertaProcessing
from torch import Tensor

from ...support.files import write_json
from .tokenization import load_tokenizer, save_tokenizer, special_ids

__all__ = ["TextPreprocessing", "framed"]

_logger = logging.getLogger(__name__)


def framed(tokenizer: Tokenizer) -> Tokenizer:
    """Copy a tokenizer so that it puts special tokens around texts, as training rows have them.

    A text is ``<s> text </s>``, and a pair ``<s> one </s> </s> other </s>`` as RoBERTa's; with
    BERT's special tokens ``[CLS] one [SEP] other [SEP]``. As RoBERTa's, too, ``<mask>`` takes the
    space before it, because no text has a space alone there. A tokenizer that has a form of its
    own keeps it.
    """
    if tokenizer.post_processor is not None:
        return Tokenizer.from_str(tokenizer.to_str())
    ids = special_ids(tokenizer)
    start, end, mask = (str(tokenizer.id_to_token(id)) for id in (ids.start, ids.end, ids.mask))
    content = json.loads(tokenizer.to_str())
    if start != "<s>":
        own = Tokenizer.from_str(json.dumps(content))
        own.post_processor = BertProcessing((end, ids.end), (start, ids.start))
        return own
    for token in content["added_tokens"]:  # what is added once cannot be changed otherwise
        token["lstrip"] |= token["content"] == mask
    own = Tokenizer.from_str(json.dumps(content))
    own.post_processor = RobertaProcessing(
        (end, ids.end), (start, ids.start), add_prefix_space=False
    )
    return own


class TextPreprocessing:
    """Tokenize texts into a batch, which a child takes as its keyword arguments.

    Parameters
    ----------
    tokenizer
        The tokenizer of the supernet's training.
    max_length
        Longest sequence that the child takes, in tokens.
    """

    def __init__(self, tokenizer: Tokenizer, max_length: int) -> None:
        self.tokenizer = tokenizer
        self.max_length = max_length
        ids = special_ids(tokenizer)
        self._framed = framed(tokenizer)
        self._framed.enable_truncation(max_length)
        self._framed.enable_padding(pad_id=ids.pad, pad_token=tokenizer.id_to_token(ids.pad))

    def __call__(self, texts: str | Sequence[str]) -> dict[str, Tensor]:
        """Make a batch of one text or several.

        What is longer than ``max_length`` is cut, and a warning counts it.

        Returns
        -------
        dict
            ``token_ids`` and ``attention_mask``, both ``(batch, seq)``; padding has a mask of 0.
        """
        rows = self._framed.encode_batch([texts] if isinstance(texts, str) else list(texts))
        if cut := sum(bool(row.overflowing) for row in rows):
            _logger.warning(
                "%d of %d texts are longer than %d tokens, and were cut",
                cut, len(rows), self.max_length,
            )  # fmt: skip
        return {
            "token_ids": torch.tensor([row.ids for row in rows]),
            "attention_mask": torch.tensor([row.attention_mask for row in rows]),
        }

    def write(self, folder: Path) -> None:
        """Write ``preprocessing.json`` and ``tokenizer.json`` beside a child."""
        save_tokenizer(self.tokenizer, folder / "tokenizer.json")
        write_json(
            folder / "preprocessing.json", {"kind": "text", "max_length": self.max_length}
        )

    @classmethod
    def read(cls, folder: Path, **settings: Any) -> Self:
        """Make what :meth:`write` wrote; ``settings`` are those of ``preprocessing.json``."""
        return cls(load_tokenizer(folder / "tokenizer.json"), **settings)
