"""Operators of the BERT search space: attention, feed-forward network and convolutions.

Every operator maps a :class:`TokenStates` to a tensor shaped like its ``hidden``. Residual
connection, dropout and layer normalisation are not part of an operator.

References
----------
.. [Xu2022] J. Xu et al., "Analyzing and Mitigating Interference in Neural Architecture Search",
   ICML 2022. Table 6 and Appendix C.
"""

from __future__ import annotations

from typing import NamedTuple

from nni.nas.profiler.pytorch.utils import MutableShape
from torch import Tensor, nn
from torch.nn import functional as F

from search_spaces.bert_profiling import ProfiledModule

__all__ = [
    "Convolution", "FeedForward", "Operator", "SelfAttention", "SeparableConvolution",
    "TokenStates",
]  # fmt: skip


class TokenStates(NamedTuple):
    """Hidden states with the mask that tells real tokens from padding.

    The two travel as one argument because NNI's un-mutated ``LayerChoice.forward`` takes exactly
    one. Its supernet layers and a stand-alone operator take any number, so this one call works
    on the plain space (dry runs and NNI's profilers), on every supernet, and on child models.

    Attributes
    ----------
    hidden : torch.Tensor
        Shape ``(batch, seq, hidden)``.
    mask : torch.Tensor or None
        Shape ``(batch, seq)``, non-zero at real tokens. None: all tokens are real.
    """

    hidden: Tensor
    mask: Tensor | None = None

    def without_padding(self) -> Tensor:
        """Return ``hidden`` with zeros at the padded positions."""
        if self.mask is None:
            return self.hidden
        return self.hidden.masked_fill((self.mask == 0).unsqueeze(-1), 0.0)


class Operator(ProfiledModule):
    """Base of the candidates: the output is shaped like the hidden states that come in."""

    def _shape_forward(self, states: TokenStates) -> MutableShape:
        return states.hidden.real_shape  # type: ignore[attr-defined]  # NNI's tensor of shapes


class SelfAttention(Operator):
    """Multi-head self-attention as in BERT, with a free width of queries, keys and values.

    Parameters
    ----------
    hidden : int
        Width of the hidden states.
    heads : int
        Number of heads. Has to divide ``width``.
    width : int, optional
        Width of queries, keys and values over all heads. Default: ``hidden``.
    dropout : float
        Dropout of the attention probabilities.

    Notes
    -----
    ``4 * hidden * width + 3 * width + hidden`` parameters: 2.36M at hidden 768, and 1.18M with
    width 384 [Xu2022, Table 6].
    """

    def __init__(self, hidden: int, heads: int, width: int | None = None, dropout: float = 0.0):
        super().__init__()
        width = hidden if width is None else width
        if width % heads:
            raise ValueError(f"heads is {heads}; accepted are divisors of the width, {width}")
        self.heads = heads
        self.width = width
        self.qkv = nn.Linear(hidden, 3 * width)
        self.output = nn.Linear(width, hidden)
        self.dropout = nn.Dropout(dropout)

    def forward(self, states: TokenStates) -> Tensor:
        """Attend to the real tokens; ``(batch, seq, hidden)`` in and out."""
        qkv = self.qkv(states.hidden).unflatten(-1, (3, self.heads, -1))  # (b, s, 3, heads, d)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # each (b, heads, s, d)
        mask = None if states.mask is None else (states.mask != 0)[:, None, None, :]
        # Read from the module, so that switching it to evaluation is enough to silence it.
        dropout = self.dropout.p if self.dropout.training else 0.0
        mixed = F.scaled_dot_product_attention(query, key, value, mask, dropout)
        return self.output(mixed.transpose(1, 2).flatten(2))

    def extra_products(self, tokens: float) -> float:
        """Multiply-adds of queries with keys, and of probabilities with values."""
        return 2 * tokens * tokens * self.width

    def activations(self, tokens: float) -> float:
        """Count the attention probabilities (softmax)."""
        return self.heads * tokens * tokens


class FeedForward(Operator):
    """Feed-forward network as in BERT: linear, GELU, linear.

    Parameters
    ----------
    hidden : int
        Width of the hidden states.
    inner : int, optional
        Width between the two linear maps. Default: ``4 * hidden``.

    Notes
    -----
    ``2 * hidden * inner + inner + hidden`` parameters: 4.72M at hidden 768, 1.18M with inner
    width 768 and 1.28M with 832 [Xu2022, Table 6].
    """

    def __init__(self, hidden: int, inner: int | None = None):
        super().__init__()
        self.inner = 4 * hidden if inner is None else inner
        self.expand = nn.Linear(hidden, self.inner)
        self.contract = nn.Linear(self.inner, hidden)

    def forward(self, states: TokenStates) -> Tensor:
        """Transform each token alone; ``(batch, seq, hidden)`` in and out."""
        return self.contract(F.gelu(self.expand(states.hidden)))

    def activations(self, tokens: float) -> float:
        """Count the elements that go through the GELU."""
        return tokens * self.inner


class _DepthwiseConvolution(nn.Conv1d):
    """Convolve each channel along the sequence; padded positions count as zeros."""

    def __init__(self, hidden: int, kernel: int, bias: bool):
        if kernel % 2 == 0:
            raise ValueError(f"kernel is {kernel}; accepted are odd widths")
        super().__init__(hidden, hidden, kernel, padding=kernel // 2, groups=hidden, bias=bias)

    def forward(self, hidden: Tensor, mask: Tensor | None) -> Tensor:  # type: ignore[override]
        # A bias before this point makes padding non-zero, hence the mask right here.
        channels_first = TokenStates(hidden, mask).without_padding().transpose(1, 2)
        return super().forward(channels_first).transpose(1, 2)


class Convolution(Operator):
    """Gated convolution: pointwise, GLU, depthwise convolution, pointwise.

    The paper draws its convolution in Fig. 7 and does not describe it in its text. This is our
    reading: a pointwise map to ``2 * hidden``, a gated linear unit back to ``hidden``, a
    depthwise convolution of width ``kernel`` and a pointwise map, all with bias.

    Parameters
    ----------
    hidden : int
        Width of the hidden states.
    kernel : int
        Width of the convolution in tokens, odd.

    Notes
    -----
    ``3 * hidden**2 + (kernel + 4) * hidden`` parameters: at hidden 768 these are 1,774,848
    for width 3 and 1,776,384 for width 5.
    """

    def __init__(self, hidden: int, kernel: int):
        super().__init__()
        self.hidden = hidden
        self.gate = nn.Linear(hidden, 2 * hidden)
        self.depthwise = _DepthwiseConvolution(hidden, kernel, bias=True)
        self.pointwise = nn.Linear(hidden, hidden)

    def forward(self, states: TokenStates) -> Tensor:
        """Mix neighbouring tokens; ``(batch, seq, hidden)`` in and out."""
        gated = F.glu(self.gate(states.hidden), dim=-1)
        return self.pointwise(self.depthwise(gated, states.mask))

    def activations(self, tokens: float) -> float:
        """Count the gates."""
        return tokens * self.hidden


class SeparableConvolution(Operator):
    """Two stacked separable convolutions (depthwise, then pointwise), with a GELU between.

    Parameters
    ----------
    hidden : int
        Width of the hidden states.
    kernel : int
        Width of the convolutions in tokens, odd.

    Notes
    -----
    ``2 * (kernel * hidden + hidden**2)`` parameters, without any bias: 1.18M for width 3 and
    1.19M for width 5 at hidden 768. Two pairs are what the counts in [Xu2022, Table 6] imply;
    the nonlinearity between them is our choice.
    """

    def __init__(self, hidden: int, kernel: int):
        super().__init__()
        self.hidden = hidden
        self.depthwise_1 = _DepthwiseConvolution(hidden, kernel, bias=False)
        self.pointwise_1 = nn.Linear(hidden, hidden, bias=False)
        self.depthwise_2 = _DepthwiseConvolution(hidden, kernel, bias=False)
        self.pointwise_2 = nn.Linear(hidden, hidden, bias=False)

    def forward(self, states: TokenStates) -> Tensor:
        """Mix neighbouring tokens; ``(batch, seq, hidden)`` in and out."""
        middle = F.gelu(self.pointwise_1(self.depthwise_1(*states)))
        return self.pointwise_2(self.depthwise_2(middle, states.mask))

    def activations(self, tokens: float) -> float:
        """Count the elements that go through the GELU."""
        return tokens * self.hidden
