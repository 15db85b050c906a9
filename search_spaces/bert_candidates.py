"""Candidate operators of the BERT search space, built by name.

=================  ==========================================================================
name               operator
=================  ==========================================================================
``mha<H>``         self-attention with ``H`` heads, queries, keys and values as wide as hidden
``mha<H>x<W>``     the same, with queries, keys and values of width ``W`` in all
``ffn``            feed-forward network with inner width ``4 * hidden``
``ffn<W>``         feed-forward network with inner width ``W``
``conv<k>``        gated convolution of odd width ``k``
``sepconv<k>``     two stacked separable convolutions of odd width ``k``
=================  ==========================================================================

The operators themselves are in :mod:`search_spaces.bert_operators`.
"""

from __future__ import annotations

import re

from search_spaces.bert_operators import (
    Convolution,
    FeedForward,
    Operator,
    SelfAttention,
    SeparableConvolution,
)

__all__ = ["build_candidate"]

_ACCEPTED = (
    "mha<heads> and mha<heads>x<width> (heads divide the width), ffn and ffn<width>, "
    "conv<k> and sepconv<k> (k odd), all numbers positive"
)
_GRAMMAR = {
    re.compile(r"mha([1-9]\d*)(?:x([1-9]\d*))?"): SelfAttention,
    re.compile(r"ffn([1-9]\d*)?"): FeedForward,
    re.compile(r"conv([1-9]\d*)"): Convolution,
    re.compile(r"sepconv([1-9]\d*)"): SeparableConvolution,
}


def build_candidate(name: str, hidden: int, dropout: float = 0.0) -> Operator:
    """Build the candidate operator that a name of the grammar above stands for.

    Parameters
    ----------
    name : str
        For example ``"mha12"``, ``"mha6x384"``, ``"ffn"``, ``"ffn832"``, ``"conv3"``.
    hidden : int
        Width of the hidden states.
    dropout : float
        Dropout of attention probabilities; the other operators have none inside.

    Returns
    -------
    torch.nn.Module
        Maps a :class:`.bert_operators.TokenStates` to a tensor of shape ``(batch, seq, hidden)``.

    Raises
    ------
    ValueError
        If the name is unknown, a kernel width is even, or the heads do not divide the width.

    Examples
    --------
    >>> sum(p.numel() for p in build_candidate("ffn832", hidden=768).parameters())
    1279552
    """
    for pattern, operator in _GRAMMAR.items():
        if match := pattern.fullmatch(name):
            numbers = [None if group is None else int(group) for group in match.groups()]
            options = {"dropout": dropout} if operator is SelfAttention else {}
            try:
                return operator(hidden, *numbers, **options)
            except ValueError as error:
                raise ValueError(f"candidate {name!r}: {error}") from None
    raise ValueError(f"candidate is {name!r}; accepted are {_ACCEPTED}")
