"""The most probable child that a filter allows, by the weights of a mixture."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from nni.mutable import Sample

__all__ = ["by_probability", "check_covers", "most_probable"]

MOST_CHILDREN = 100_000
"""Children that are looked at before it is given up."""

Weights = Mapping[str, Sequence[float]]


def most_probable(
    weights: Weights, candidates: Mapping[str, Sequence[Any]], allowed: Callable[[Sample], bool]
) -> Sample:
    """Find the child with the largest product of weights that is allowed.

    Parameters
    ----------
    weights
        Label to the weights of its candidates.
    candidates
        Label to its candidates, in the same order.
    allowed
        Whether a child may be taken.

    Raises
    ------
    ValueError
        If none of the 100,000 most probable children is.
    """
    for n, child in enumerate(by_probability(weights, candidates)):
        if allowed(child):
            return child
        if n + 1 == MOST_CHILDREN:
            break
    raise ValueError(
        f"filter allows none of the {n + 1} most probable children; accepted are wider ones"
    )


def by_probability(weights: Weights, candidates: Mapping[str, Sequence[Any]]) -> Iterator[Sample]:
    """Give all children, from the most probable to the least; equal ones in a fixed order.

    Examples
    --------
    >>> weights, candidates = {"a": [0.4, 0.6], "b": [0.9, 0.1]}, {"a": "xy", "b": "xy"}
    >>> ["".join(child.values()) for child in by_probability(weights, candidates)]
    ['yx', 'xx', 'yy', 'xy']
    """
    ranked = {
        label: [i for _, i in sorted((-weight, i) for i, weight in enumerate(own))]
        for label, own in weights.items()
    }
    labels = list(ranked)

    def cost(ranks: tuple[int, ...]) -> float:
        own = (weights[label][ranked[label][r]] for label, r in zip(labels, ranks, strict=True))
        return sum(-math.log(weight) if weight > 0 else math.inf for weight in own)

    first = (0,) * len(labels)
    heap, seen = [(cost(first), first)], {first}
    while heap:
        _, ranks = heapq.heappop(heap)
        yield {
            label: candidates[label][ranked[label][r]]
            for label, r in zip(labels, ranks, strict=True)
        }
        for i, label in enumerate(labels):
            following = (*ranks[:i], ranks[i] + 1, *ranks[i + 1 :])
            if following[i] < len(ranked[label]) and following not in seen:
                seen.add(following)
                heapq.heappush(heap, (cost(following), following))


def check_covers(
    weights: Weights, candidates: Mapping[str, Sequence[Any]], because: str
) -> None:
    """Make sure that a weight is known for every candidate, so that children have a probability.

    Parameters
    ----------
    weights, candidates
        See :func:`most_probable`.
    because
        What needs it, for the error.

    Raises
    ------
    ValueError
        Naming a label for which that is not so.
    """
    for label, own in candidates.items():
        if len(weights.get(label, ())) != len(own):
            raise ValueError(
                f"{because}, and {label!r} has no weight for each of its {len(own)} choices; "
                "accepted are spaces without a Cell or an InputChoice of several inputs"
            )
