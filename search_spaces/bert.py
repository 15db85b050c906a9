"""BERT search space: a chain of layers, each of which picks attention, feed-forward or convolution.

Every layer n computes ``H_n = norm(H_{n-1} + dropout(o(H_{n-1})))`` with one candidate operator
o. With N layers and C candidates the space holds ``C ** N`` children, about 4.5e15 for the
paper's 26 layers and 4 candidates.

Differences from the paper: the architecture of ``conv`` is our reading of a figure, see
:class:`search_spaces.bert_operators.Convolution`; only masked language modelling is built in.

References
----------
.. [Xu2022] J. Xu et al., "Analyzing and Mitigating Interference in Neural Architecture Search",
   ICML 2022. Sec. 3 and 5, Table 6 and Appendix C.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from nni.nas.nn.pytorch import LayerChoice, ModelSpace
from torch import Tensor, nn

from search_spaces.bert_candidates import build_candidate
from search_spaces.bert_modules import MaskedLanguageHead, Residual, Stem
from search_spaces.bert_operators import TokenStates
from search_spaces.checks import check_dropout, check_names, check_preset, check_sizes

__all__ = ["PRESETS", "BertSpace"]

PRESETS: dict[str, dict[str, Any]] = {
    # [Xu2022, Sec. 5.1 and App. C]: children of about 113M parameters.
    "base": {
        "n_layers": 26,
        "hidden": 768,
        "vocab_size": 50265,
        "max_length": 128,
        "embedding_size": 512,
        "candidates": ("mha12", "ffn", "conv3", "conv5"),
    },
    # [Xu2022, App. C]: children of about 60M parameters.
    "compression": {
        "n_layers": 26,
        "hidden": 512,
        "vocab_size": 50265,
        "max_length": 128,
        "embedding_size": 512,
        "candidates": ("mha8", "ffn", "conv3", "conv5"),
    },
    # [Xu2022, Table 6]: six candidates of about 1.2M parameters, to study interference.
    "analysis": {
        "n_layers": 12,
        "hidden": 768,
        "vocab_size": 50265,
        "max_length": 128,
        "embedding_size": 512,
        "candidates": ("mha6x384", "mha8x384", "ffn768", "ffn832", "sepconv3", "sepconv5"),
    },
    # Ours, to train on two CPU cores.
    "tiny": {
        "n_layers": 8,
        "hidden": 64,
        "vocab_size": 1024,
        "max_length": 64,
        "candidates": ("mha4", "ffn", "conv3", "conv5"),
    },
}


class Layer(nn.Module):
    """One choice block with its residual connection; its output is the hidden state H_n."""

    def __init__(self, label: str, candidates: Sequence[str], hidden: int, dropout: float):
        super().__init__()
        operators = {name: build_candidate(name, hidden, dropout) for name in candidates}
        self.operator = LayerChoice(operators, label=label)
        self.residual = Residual(hidden, dropout)

    def forward(self, hidden: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Compute H_n from H_{n-1}, both ``(batch, seq, hidden)``; mask ``(batch, seq)``."""
        return self.residual(hidden, self.operator(TokenStates(hidden, attention_mask)))


class BertSpace(ModelSpace):
    """Chain of ``n_layers`` choice blocks between BERT's embeddings and its MLM head.

    Parameters
    ----------
    n_layers : int
        Number of layers N. Their choice blocks are labelled ``layer_1`` to ``layer_N``.
    hidden : int
        Width of the hidden states.
    vocab_size : int
        Number of tokens in the vocabulary.
    max_length : int
        Longest sequence, in tokens.
    embedding_size : int, optional
        Width of the embeddings, at most ``hidden``; below ``hidden`` the embedding matrix is
        factorised. Default: ``hidden``.
    dropout : float
        Probability in [0, 1), for embeddings, operator outputs and attention probabilities.
    candidates : sequence of str
        Names of the candidates of every block, see :mod:`search_spaces.bert_candidates`.

    Raises
    ------
    ValueError
        If a size is no whole number of at least 1, ``embedding_size`` exceeds ``hidden``,
        ``dropout`` is out of range, or candidates are missing, repeated or unknown.
    TypeError
        If ``candidates`` is one string.

    Examples
    --------
    >>> space = BertSpace(n_layers=2, hidden=8, vocab_size=50, max_length=16,
    ...                   candidates=("mha2", "conv3"))
    >>> sorted(space.simplify())
    ['layer_1', 'layer_2']
    >>> space(torch.zeros(1, 16, dtype=torch.long)).shape
    torch.Size([1, 16, 50])
    """

    def __init__(
        self,
        n_layers: int,
        hidden: int,
        vocab_size: int,
        max_length: int,
        embedding_size: int | None = None,
        dropout: float = 0.1,
        candidates: Sequence[str] = ("mha12", "ffn", "conv3", "conv5"),
    ):
        super().__init__()
        embedding_size = hidden if embedding_size is None else embedding_size
        check_sizes(
            n_layers=n_layers,
            hidden=hidden,
            vocab_size=vocab_size,
            max_length=max_length,
            embedding_size=embedding_size,
        )
        _check_embedding(embedding_size, hidden)
        check_dropout(dropout)
        check_names("candidates", candidates)
        self.stem = Stem(hidden, vocab_size, max_length, embedding_size, dropout)
        self.layers = nn.ModuleList(
            Layer(f"layer_{n}", candidates, hidden, dropout) for n in range(1, n_layers + 1)
        )
        self.mlm_head = MaskedLanguageHead(hidden, vocab_size, embedding_size)
        self.apply(_initialise)
        self.layers.apply(_initialise_operator)

    @classmethod
    def preset(cls, name: str, **overrides: Any) -> BertSpace:
        """Build a space of :data:`PRESETS` by name.

        Parameters
        ----------
        name : str
            ``"base"``, ``"compression"``, ``"analysis"`` or ``"tiny"``.
        **overrides
            Constructor arguments that replace those of the preset.

        Raises
        ------
        ValueError
            If there is no such preset.
        """
        check_preset(name, PRESETS)
        return cls(**{**PRESETS[name], **overrides})

    def forward(
        self,
        token_ids: Tensor,
        attention_mask: Tensor | None = None,
        positions: Tensor | None = None,
    ) -> Tensor:
        """Compute the logits of the masked language model.

        Parameters
        ----------
        token_ids : torch.Tensor
            Integers, shape ``(batch, seq)``.
        attention_mask : torch.Tensor, optional
            Shape ``(batch, seq)``, non-zero at real tokens, zero at padding. Padding never
            influences real tokens. Default: no padding.
        positions : torch.Tensor, optional
            Boolean, shape ``(batch, seq)``: compute logits only where true.

        Returns
        -------
        torch.Tensor
            Logits, ``(batch, seq, vocab_size)``, or ``(n_selected, vocab_size)`` in row-major
            order of ``positions``.

        Raises
        ------
        ValueError
            If the sequence is longer than ``max_length`` or the shapes differ.
        TypeError
            If ``positions`` is not boolean.
        """
        _check_inputs(token_ids, attention_mask, positions)
        hidden = self.stem(token_ids)
        for layer in self.layers:
            hidden = layer(hidden, attention_mask)
        return self.head(hidden, positions)

    def head(self, hidden: Tensor, positions: Tensor | None = None) -> Tensor:
        """Map the last hidden state ``(batch, seq, hidden)`` to logits, as :meth:`forward`."""
        return self.mlm_head(hidden, self.stem.token.weight, positions)

    def hidden_layers(self) -> list[nn.Module]:
        """Return the modules whose outputs are H_1 to H_N, residual and norm included.

        Works alike on the space, on a supernet made from it, and on child models. Each module
        returns ``(batch, seq, hidden)``.
        """
        return list(self.layers)


def _initialise(module: nn.Module) -> None:
    # Embeddings and head as in BERT, so that an untrained child's loss is about ln(vocab).
    if isinstance(module, (nn.Linear, nn.Embedding)):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, (nn.Linear, nn.Conv1d)) and module.bias is not None:
        nn.init.zeros_(module.bias)


def _initialise_operator(module: nn.Module) -> None:
    # BERT's 0.02 is made for a width of 768. In a narrow space it would all but switch an
    # operator off beside its residual connection: at width 64 training then stays long at the
    # loss of guessing by frequency. Variance by fan-in works at every width.
    if isinstance(module, (nn.Linear, nn.Conv1d)):
        fan_in = module.weight[0].numel()
        nn.init.normal_(module.weight, std=fan_in**-0.5)


def _check_embedding(embedding_size: int, hidden: int) -> None:
    if embedding_size > hidden:
        raise ValueError(
            f"embedding_size is {embedding_size}; accepted are at most hidden, which is {hidden}"
        )


def _check_inputs(
    token_ids: Tensor, attention_mask: Tensor | None, positions: Tensor | None
) -> None:
    if positions is not None and positions.dtype != torch.bool:
        raise TypeError(f"positions is a tensor of {positions.dtype}; accepted are torch.bool")
    for name, tensor in (("attention_mask", attention_mask), ("positions", positions)):
        if tensor is not None and tensor.shape != token_ids.shape:
            raise ValueError(
                f"{name} has shape {tuple(tensor.shape)}; accepted is that of token_ids, "
                f"{tuple(token_ids.shape)}"
            )
