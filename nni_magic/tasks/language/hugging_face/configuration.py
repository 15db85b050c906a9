"""What a child of the BERT space is, in the form of ``config.json``."""

from __future__ import annotations

from typing import Any

import nni_bootstrap  # noqa: F401
from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig

from ....support.errors import check_count, check_number

__all__ = ["MagicBertConfig"]


@strict
class MagicBertConfig(PreTrainedConfig):
    """Sizes and operators of a child.

    Parameters
    ----------
    operators
        The operator of every layer, first to last, by its name in the search space, such as
        ``["mha12", "ffn", "conv3"]``; see :mod:`search_spaces.bert_candidates`.
    vocab_size
        Number of tokens in the vocabulary.
    hidden_size
        Width of the hidden states.
    embedding_size
        Width of the embeddings, at most ``hidden_size``; by default the same.
    max_position_embeddings
        Longest sequence, in tokens.
    hidden_dropout_prob
        Probability in [0, 1), for embeddings, operator outputs and attention probabilities.
    classifier_dropout
        Probability in [0, 1) in the head of a classifier; by default ``hidden_dropout_prob``.
    pad_token_id, bos_token_id, eos_token_id
        Ids of the tokens for padding, and of those that begin and end a text.
    vocab_digest
        SHA-256 of the vocabulary that the model was trained with, by which a tokenizer of another
        one is told; ``None``: not known.
    **more
        See ``transformers.PreTrainedConfig``.

    Raises
    ------
    ValueError
        If a size is no whole number of at least 1, ``embedding_size`` exceeds ``hidden_size``, a
        probability is out of range, or there is no operator.

    Examples
    --------
    >>> config = MagicBertConfig(operators=["mha2", "ffn"], hidden_size=8, vocab_size=50)
    >>> config.num_hidden_layers, config.embedding_size
    (2, 8)
    """

    model_type = "magic_bert"
    hidden_act = "gelu"
    """The activation of heads, and of all operators: none has another."""

    operators: list[str] | tuple[str, ...] = ("mha12", "ffn")
    vocab_size: int = 50265
    hidden_size: int = 768
    embedding_size: int | None = None
    max_position_embeddings: int = 128
    hidden_dropout_prob: float | int = 0.1
    classifier_dropout: float | int | None = None
    pad_token_id: int | None = 1
    bos_token_id: int | None = 0
    eos_token_id: int | None = 2
    vocab_digest: str | None = None

    def __post_init__(self, **more: Any) -> None:
        self.operators = list(self.operators)
        if self.embedding_size is None:
            self.embedding_size = self.hidden_size
        for name in ("vocab_size", "hidden_size", "max_position_embeddings"):
            check_count(name, getattr(self, name))
        check_count("embedding_size", self.embedding_size, at_most=self.hidden_size)
        check_number("hidden_dropout_prob", self.hidden_dropout_prob, at_least=0, below=1)
        if self.classifier_dropout is not None:
            check_number("classifier_dropout", self.classifier_dropout, at_least=0, below=1)
        if not self.operators:
            raise ValueError("operators is []; accepted are the names of one operator or more")
        super().__post_init__(**more)

    @property
    def num_hidden_layers(self) -> int:
        """Number of layers: there is one for every operator."""
        return len(self.operators)
