"""Fixed parts of the BERT search space: embeddings, residual connection, and MLM head.

References
----------
.. [Lan2020] Z. Lan et al., "ALBERT: A Lite BERT for Self-supervised Learning of Language
   Representations", ICLR 2020. The factorised embedding.
"""

from __future__ import annotations

from typing import Any

import torch
from nni.nas.profiler.pytorch.utils import MutableShape
from torch import Tensor, nn
from torch.nn import functional as F

from search_spaces.bert_profiling import ProfiledModule

__all__ = ["MaskedLanguageHead", "Residual", "Stem"]


class Stem(ProfiledModule):
    """Token and position embeddings, layer norm, dropout, and projection to the hidden width.

    The projection exists only if ``embedding_size`` differs from ``hidden`` [Lan2020].
    """

    def __init__(
        self, hidden: int, vocab_size: int, max_length: int, embedding_size: int, dropout: float
    ):
        super().__init__()
        self.hidden = hidden
        self.token = nn.Embedding(vocab_size, embedding_size)
        self.position = nn.Embedding(max_length, embedding_size)
        self.norm = nn.LayerNorm(embedding_size)
        self.dropout = nn.Dropout(dropout)
        factorised = embedding_size != hidden
        self.project = nn.Linear(embedding_size, hidden) if factorised else nn.Identity()

    def forward(self, token_ids: Tensor) -> Tensor:
        """Embed ``token_ids`` of shape ``(batch, seq)`` to ``(batch, seq, hidden)``."""
        return self.project(self.embed(token_ids))

    def embed(self, token_ids: Tensor) -> Tensor:
        """Embed ``token_ids``, ``(batch, seq)``, without the projection to the hidden width."""
        length, max_length = token_ids.shape[1], self.position.num_embeddings
        if length > max_length:
            raise ValueError(
                f"token_ids has {length} columns; accepted are at most max_length, which is "
                f"{max_length}"
            )
        embedded = self.token(token_ids) + self.position.weight[:length]
        dropped: Tensor = self.dropout(self.norm(embedded))
        return dropped

    def _shape_forward(self, token_ids: Any) -> MutableShape:
        return MutableShape(*token_ids.real_shape, self.hidden)


class Residual(ProfiledModule):
    """Post-norm residual connection: ``norm(hidden + dropout(update))``."""

    def __init__(self, hidden: int, dropout: float):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(hidden)

    def forward(self, hidden: Tensor, update: Tensor) -> Tensor:
        """Add ``update`` to ``hidden``, both ``(batch, seq, hidden)``, and normalise."""
        return self.norm(hidden + self.dropout(update))

    def _shape_forward(self, hidden: Any, update: Any) -> MutableShape:
        return hidden.real_shape


class MaskedLanguageHead(ProfiledModule):
    """Predict tokens: linear, GELU, layer norm, projection to the embedding width, tied decoder.

    The weight of the decoder is an argument, not a parameter of this module. Registered twice it
    would be counted twice by the profilers, stand in the state dict under two names, and come
    apart where modules are copied or materialised one by one.
    """

    def __init__(self, hidden: int, vocab_size: int, embedding_size: int):
        super().__init__()
        self.hidden = hidden
        self.dense = nn.Linear(hidden, hidden)
        self.norm = nn.LayerNorm(hidden)
        factorised = embedding_size != hidden
        self.project = nn.Linear(hidden, embedding_size) if factorised else nn.Identity()
        self.bias = nn.Parameter(torch.zeros(vocab_size))
        self._decoder_products = vocab_size * embedding_size

    def forward(
        self, hidden: Tensor, decoder_weight: Tensor, positions: Tensor | None = None
    ) -> Tensor:
        """Map ``(batch, seq, hidden)`` to logits, see :meth:`BertSpace.forward`."""
        if positions is not None:
            hidden = hidden[positions]  # (n_selected, hidden): most tokens need no logits
        transformed = self.norm(F.gelu(self.dense(hidden)))
        return F.linear(self.project(transformed), decoder_weight, self.bias)

    def extra_products(self, tokens: float) -> float:
        """Multiply-adds of the tied decoder."""
        return tokens * self._decoder_products

    def activations(self, tokens: float) -> float:
        """Count the elements that go through the GELU."""
        return tokens * self.hidden

    def _shape_forward(
        self, hidden: Any, decoder_weight: Any, positions: Any = None
    ) -> MutableShape:
        vocab_size = self.bias.numel()
        if positions is None:
            return MutableShape(*tuple(hidden.real_shape)[:-1], vocab_size)
        return MutableShape(int(positions.elem.sum()), vocab_size)

    def _profiled_tokens(self, input_shapes: tuple, output_shape: MutableShape) -> float:
        # With `positions` the batch dimension is merged: the mean over the sequences.
        return output_shape[:-1].numel() / input_shapes[0][0]
