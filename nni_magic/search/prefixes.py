"""The prefix tree of a population: which children begin alike, and up to which step."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["PrefixTree"]


@dataclass(frozen=True)
class PrefixTree:
    """Children sorted so that those that begin alike stand together.

    A *node* of a step stands for all children that run the same up to and including this step.

    Attributes
    ----------
    order : numpy.ndarray
        Shape ``(children,)``: indices of the children in the sorted order.
    code : numpy.ndarray
        Shape ``(children, steps)``, in the sorted order: what a child runs at a step, as a number;
        0 where it leaves the step out.
    node : numpy.ndarray
        Shape ``(children, steps)``, in the sorted order: the node of a child at a step. Those of
        a step are numbered from 0 in this order.

    Examples
    --------
    >>> tree = PrefixTree.of([("a", "x"), ("b", "x"), ("a", "y")])
    >>> tree.order.tolist(), tree.node.tolist(), tree.n_calls
    ([0, 2, 1], [[0, 0], [0, 1], [1, 2]], 5)
    >>> tree.parents(1), tree.groups(1)
    ([0, 0, 1], {1: [0, 2], 2: [1]})
    """

    order: np.ndarray
    code: np.ndarray
    node: np.ndarray

    @classmethod
    def of(cls, keys: Sequence[Sequence[Hashable]]) -> PrefixTree:
        """Build the tree of children, each given by a key for every step.

        Equal keys of a step run the same; ``None`` leaves the step out.
        """
        code = np.empty((len(keys), len(keys[0])), dtype=np.int64)
        for step, column in enumerate(zip(*keys, strict=True)):
            seen: dict[Hashable, int] = {None: 0}
            code[:, step] = [seen.setdefault(key, len(seen)) for key in column]
        order = np.lexsort(code.T[::-1])
        code = code[order]
        begins = np.zeros_like(code, dtype=bool)
        begins[1:] = np.logical_or.accumulate(code[1:] != code[:-1], axis=1)
        return cls(order, code, begins.cumsum(axis=0))

    def part(self, start: int, stop: int) -> PrefixTree:
        """The tree of the children from ``start`` to ``stop`` in the sorted order."""
        node = self.node[start:stop]
        return PrefixTree(self.order[start:stop], self.code[start:stop], node - node[0])

    @property
    def n_calls(self) -> int:
        """How many steps have to run for all children when those that they share run once."""
        return sum(int((self.code[self.first(d), d] > 0).sum()) for d in range(self.code.shape[1]))

    def first(self, step: int) -> np.ndarray:
        """For every node of a step the place in the order of its first child."""
        return np.unique(self.node[:, step], return_index=True)[1]

    def parents(self, step: int) -> list[int]:
        """For every node of a step the node of the step before; at the first step 0."""
        first = self.first(step)
        return [0] * len(first) if step == 0 else self.node[first, step - 1].tolist()

    def groups(self, step: int) -> dict[int, list[int]]:
        """Nodes of a step by what they run."""
        groups: dict[int, list[int]] = {}
        for node, code in enumerate(self.code[self.first(step), step].tolist()):
            groups.setdefault(code, []).append(node)
        return groups

    def children(self, step: int) -> list[list[int]]:
        """For every node of a step the indices of its children."""
        children: list[list[int]] = [[] for _ in self.first(step)]
        for index, node in zip(self.order.tolist(), self.node[:, step].tolist(), strict=True):
            children[node].append(index)
        return children

    def shares(self, n: int) -> list[list[int]]:
        """Indices of the children in n shares of about as much work; none is empty.

        Those that begin alike stay together, so that hardly a step is run twice. A child's score
        counts as one step.

        Examples
        --------
        >>> PrefixTree.of([("a", "x"), ("b", "x"), ("a", "y"), ("b", "y")]).shares(2)
        [[0, 2], [1, 3]]
        """
        new = np.diff(self.node, axis=0, prepend=-1) > 0
        done = (1 + (new & (self.code > 0)).sum(axis=1)).cumsum()
        cut = np.arange(1, n)
        ends = np.searchsorted(done, done[-1] * cut / n) + 1
        ends = np.maximum.accumulate(ends - cut) + cut
        ends = np.minimum(ends, len(self.order) - n + cut)
        return [share.tolist() for share in np.split(self.order, ends)]
