"""Divide the candidates of a block into groups that are alike."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np

__all__ = ["count_partitions", "equal_groups", "group_sizes", "min_cut"]

Groups = list[list[int]]
"""Places of candidates, each in one group."""


def group_sizes(n: int, n_groups: int) -> list[int]:
    """Sizes of groups that differ by one at most, larger ones first.

    >>> group_sizes(7, 3)
    [3, 2, 2]
    """
    return [n // n_groups + (i < n % n_groups) for i in range(n_groups)]


def equal_groups(n: int, n_groups: int) -> Groups:
    """Groups of neighbours, of sizes that differ by one at most.

    >>> equal_groups(5, 2)
    [[0, 1, 2], [3, 4]]
    """
    ends = np.cumsum(group_sizes(n, n_groups)).tolist()
    return [list(range(start, end)) for start, end in zip([0, *ends], ends, strict=False)]


def count_partitions(n: int, n_groups: int) -> int:
    """Count the ways to divide n into groups of :func:`group_sizes`.

    >>> count_partitions(4, 2), count_partitions(5, 2)
    (3, 10)
    """
    sizes = group_sizes(n, n_groups)
    ordered = math.factorial(n) // math.prod(map(math.factorial, sizes))
    return ordered // math.prod(math.factorial(sizes.count(size)) for size in set(sizes))


def min_cut(similarity: np.ndarray, n_groups: int) -> tuple[Groups, float]:
    """Find the groups of equal size between which there is the least similarity.

    All partitions are tried, see :func:`count_partitions`.

    Parameters
    ----------
    similarity
        ``(n, n)``, symmetric; the diagonal is not read.
    n_groups
        How many groups, of sizes that differ by one at most.

    Returns
    -------
    groups : list of list of int
        In the order of their first members.
    cut : float
        Mean similarity of pairs in different groups.

    Examples
    --------
    >>> min_cut(np.array([[1, 0, 1, 0], [0, 1, 0, 1], [1, 0, 1, 0], [0, 1, 0, 1]]), 2)
    ([[0, 2], [1, 3]], 0.0)
    """
    n = len(similarity)
    sizes = group_sizes(n, n_groups)
    own = np.triu(similarity, 1)
    n_cut = math.comb(n, 2) - sum(math.comb(size, 2) for size in sizes)

    def inside(groups: Groups) -> float:
        return sum(float(own[np.ix_(group, group)].sum()) for group in groups)

    best = max(_partitions(tuple(range(n)), tuple(sizes)), key=inside)
    return best, (float(own.sum()) - inside(best)) / n_cut


def _partitions(members: tuple[int, ...], sizes: Sequence[int]) -> Iterator[Groups]:
    """All partitions into groups of these sizes, each once: the first member chooses its group."""
    if not members:
        yield []
        return
    first, *rest = members
    for size in dict.fromkeys(sizes):
        left = list(sizes)
        left.remove(size)
        for others in combinations(rest, size - 1):
            behind = tuple(member for member in rest if member not in others)
            for groups in _partitions(behind, left):
                yield [[first, *others], *groups]
