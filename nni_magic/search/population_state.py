"""The state of a population between two generations, as a file or an experiment gives it back."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from typing import Any

from nni.mutable import Sample

from ..support.errors import check_choice, check_count

__all__ = ["checked_state"]

KEYS = ("seed", "generation", "scored")


def checked_state(state: Any) -> list[tuple[Sample, float]]:
    """Give the samples and scores of a state, once it is one.

    Raises
    ------
    ValueError
        Naming what it lacks, or holds and should not.

    Examples
    --------
    >>> checked_state({"seed": 0, "generation": 1, "scored": [[{"op": "conv"}, 0.5]]})
    [({'op': 'conv'}, 0.5)]
    """
    if not isinstance(state, Mapping):
        raise ValueError(f"the state is {state!r}; accepted are those of a Population")
    for key in KEYS:
        if key not in state:
            raise ValueError(f"the state lacks {key!r}")
    for key in state:
        check_choice("a key of the state", key, KEYS)
    check_count("the state's seed", state["seed"], at_least=0)
    check_count("the state's generation", state["generation"], at_least=0)
    scored = _pairs(state["scored"])
    if bool(scored) != bool(state["generation"]):
        raise ValueError(
            f"the state's generation is {state['generation']}, and its scored has {len(scored)} "
            "children; accepted are none in generation 0, and some in later ones"
        )
    return scored


def _pairs(scored: Any) -> list[tuple[Sample, float]]:
    wrong = [one for one in scored if not _is_scored(one)] if type(scored) is list else [scored]
    if wrong:
        raise ValueError(
            f"the state's scored has {wrong[0]!r}; accepted are pairs of a sample and its score"
        )
    return [(sample, score) for sample, score in scored]


def _is_scored(pair: Any) -> bool:
    if not isinstance(pair, (list, tuple)) or len(pair) != 2:
        return False
    sample, score = pair
    is_number = isinstance(score, numbers.Real) and not isinstance(score, bool)
    return isinstance(sample, Mapping) and is_number
