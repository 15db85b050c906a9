"""Which candidates to delete: the promise of each, from children that were scored.

See :mod:`nni_magic.search.shrinking` for the equation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from typing import Any

from nni.mutable import Sample

from ..children.samples import Candidates
from ..support.modes import Mode

__all__ = ["Promises", "deletions", "promises"]

Promises = dict[str, list[float]]


def promises(
    children: Sequence[Sample],
    scores: Sequence[float],
    candidates: Candidates,
    active: Callable[[Sample], Collection[str]] | None = None,
) -> Promises:
    """Mean score of the children that contain a candidate, for every candidate of every block.

    Parameters
    ----------
    children, scores
        Evaluated children and their finite scores.
    candidates
        Label to its choices.
    active
        Labels of the blocks that a child contains, such as the sampler's ``active_labels``; by
        default all.

    Returns
    -------
    dict
        Label to the promises of its choices, in their order; not-a-number where no child has it.

    Examples
    --------
    >>> promises([{"op": "a"}, {"op": "b"}, {"op": "a"}], [1.0, 5.0, 2.0], {"op": ["a", "b"]})
    {'op': [1.5, 5.0]}
    """
    held: dict[str, list[list[float]]] = {
        label: [[] for _ in choices] for label, choices in candidates.items()
    }
    for child, score in zip(children, scores, strict=True):
        for label in candidates if active is None else active(child):
            held[label][candidates[label].index(child[label])].append(score)
    return {
        label: [sum(of) / len(of) if of else math.nan for of in choices]
        for label, choices in held.items()
    }


def deletions(
    promise: Promises,
    candidates: Candidates,
    n_drop: int,
    mode: Mode,
    feasible: Callable[[Candidates], bool] = lambda candidates: True,
) -> list[tuple[str, Any]]:
    """The least promising candidates that may go, the least promising first.

    Parameters
    ----------
    promise
        From :func:`promises`. Those without one go last.
    candidates
        Label to its choices.
    n_drop
        How many to delete at most; the last of a block always stays.
    mode
        Whether a smaller (``min``) or a larger (``max``) promise is better.
    feasible
        Whether some valid child would be left of given candidates.

    Examples
    --------
    >>> deletions({"op": [1.5, 5.0, 2.0]}, {"op": ["a", "b", "c"]}, 5, "min")
    [('op', 'b'), ('op', 'c')]
    """
    sign = -1 if mode == "min" else 1
    ranked = sorted(
        (math.isnan(value), 0.0 if math.isnan(value) else sign * value, number, place, label)
        for number, (label, values) in enumerate(promise.items())
        for place, value in enumerate(values)
    )
    left = {label: list(choices) for label, choices in candidates.items()}
    dropped: list[tuple[str, Any]] = []
    for *_, place, label in ranked:
        if len(dropped) == n_drop:
            break
        choice = candidates[label][place]
        remaining = {**left, label: [other for other in left[label] if other != choice]}
        if remaining[label] and feasible(remaining):
            left = remaining
            dropped.append((label, choice))
    return dropped
