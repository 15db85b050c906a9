"""Which layer of a child learns from which layer of a teacher of another depth.

TinyBERT [Jiao2020] maps layer m of M to layer m · N / M of N. Where N is no multiple of M, or the
child is the deeper one, as many layers as the shallower model has are spread over both, so that the
last ones always belong together.

[Jiao2020] Jiao et al., TinyBERT: Distilling BERT for Natural Language Understanding, Findings of
EMNLP 2020.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

__all__ = ["layer_map"]

LayerPairs = list[tuple[int, int]]
"""Layers that belong together, the child's and the teacher's, each numbered from 1."""


def layer_map(child: int, teacher: int, given: Sequence[str] | None = None) -> LayerPairs:
    """Pair the layers of a child with those of its teacher.

    Parameters
    ----------
    child, teacher
        Numbers of layers.
    given
        Pairs as text, the child's layer first, such as ``["4:2", "8:6"]``; by default the layers
        are spread.

    Raises
    ------
    ValueError
        If a pair is none, one of its layers does not exist, or pairs cross.

    Examples
    --------
    >>> layer_map(3, 12)
    [(1, 4), (2, 8), (3, 12)]
    >>> layer_map(8, 3)
    [(3, 1), (6, 2), (8, 3)]
    """
    if given is None:
        n_pairs = min(child, teacher)
        return [(_spread(k, child, n_pairs), _spread(k, teacher, n_pairs))
                for k in range(1, n_pairs + 1)]  # fmt: skip
    pairs = [_pair(text, child, teacher) for text in given]
    for before, after in pairwise(pairs):
        if not (before[0] < after[0] and before[1] <= after[1]):
            raise ValueError(
                f"teacher_layers is {list(given)}; accepted are pairs in the order of the layers, "
                "each of the child's layers once"
            )
    return pairs


def _spread(k: int, depth: int, n_pairs: int) -> int:
    """Layer ``k * depth / n_pairs``, rounded up."""
    return -(-k * depth // n_pairs)


def _pair(text: str, child: int, teacher: int) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+):(\d+)", text)
    pair = (int(match[1]), int(match[2])) if match else (0, 0)
    if not (1 <= pair[0] <= child and 1 <= pair[1] <= teacher):
        raise ValueError(
            f"teacher_layers holds {text!r}; accepted are pairs as 1:1, of the child's {child} "
            f"layers and the teacher's {teacher}"
        )
    return pair
