"""Arithmetic on samples: distance, neighbours, crossover, digest.

A *sample* is NNI's description of one child model, the dict ``label -> choice`` over the labels
of ``model_space.simplify()``. *Candidates* are what each label may take: the dict
``label -> list of choices``. Nothing here needs torch, and randomness comes only from the
:class:`numpy.random.Generator` that the caller passes.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from nni.mutable import Categorical, CategoricalMultiple, LabeledMutable, Mutable, Sample
from nni.mutable.annotation import MutableAnnotation

__all__ = [
    "Candidates", "Sample", "active_labels", "candidates", "check_sample", "crossover", "digest",
    "distance", "neighbour", "neighbours", "plain", "random_sample",
]  # fmt: skip

Candidates = Mapping[str, list[Any]]

MAX_CHOICES = 65_536


def candidates(space: Mutable | Mapping[str, LabeledMutable]) -> dict[str, list[Any]]:
    """List what every label of a space may take.

    Prior weights of a mutable are not used: the methods of this package sample uniformly.

    Parameters
    ----------
    space
        A model space, or what its ``simplify()`` returns.

    Returns
    -------
    dict
        Label to its choices, in the order of ``simplify()``. A choice of several inputs is the
        sorted list of the chosen ones. Constraints have no choice of their own and are left out.

    Raises
    ------
    TypeError
        If a label does not have finitely many choices (``Numerical``).
    ValueError
        If the space has no label, or a label has more than 65,536 choices.

    Examples
    --------
    >>> candidates({"op": Categorical(["conv", "pool"], label="op")})
    {'op': ['conv', 'pool']}
    """
    mutables = space.simplify() if isinstance(space, Mutable) else space
    found = {
        str(label): _choices(label, mutable)  # NNI's own type of string does not unpickle safely
        for label, mutable in mutables.items()
        if not isinstance(mutable, MutableAnnotation)
    }
    if not found:
        raise ValueError(
            f"{type(space).__name__} has no choices: a model space needs at least one LayerChoice, "
            "InputChoice, Repeat of variable depth, Cell or value choice"
        )
    return found


def _choices(label: str, mutable: LabeledMutable) -> list[Any]:
    if isinstance(mutable, Categorical):
        return list(mutable.values)
    if isinstance(mutable, CategoricalMultiple):
        n = len(mutable.values)
        sizes = range(n + 1) if mutable.n_chosen is None else (mutable.n_chosen,)
        count = sum(math.comb(n, size) for size in sizes)
        if count > MAX_CHOICES:
            raise ValueError(
                f"label {label!r} has {count} choices; accepted are at most {MAX_CHOICES}"
            )
        subsets = (itertools.combinations(mutable.values, size) for size in sizes)
        return [list(subset) for subset in itertools.chain.from_iterable(subsets)]
    raise TypeError(
        f"label {label!r} is a {type(mutable).__name__}; accepted are Categorical and "
        "CategoricalMultiple, which have finitely many choices"
    )


class _Recorder(dict[str, Any]):
    """A sample that remembers which of its labels were read."""

    def __init__(self, sample: Sample) -> None:
        super().__init__(sample)
        self.read: set[str] = set()

    def __getitem__(self, label: str) -> Any:
        self.read.add(label)
        return super().__getitem__(label)


def active_labels(space: Mutable, sample: Sample) -> frozenset[str]:
    """Labels that shape the child model of a sample.

    In a conditional space, such as choices inside a ``Repeat`` of variable depth or nested
    choices, the labels of the parts left out have no effect. NNI's own ``check_contains`` visits
    exactly the parts that a sample uses, so the labels that it reads are the active ones.

    Raises
    ------
    nni.mutable.exception.SampleValidationError
        If the sample does not belong to the space.
    """
    recorder = _Recorder(sample)
    space.validate(recorder)
    return frozenset(recorder.read & sample.keys())


def check_sample(sample: Sample, candidates: Candidates) -> None:
    """Make sure that a sample gives every label one of its choices, and has no other label.

    Raises
    ------
    ValueError
        Naming the label, what it holds and what is accepted.

    Examples
    --------
    >>> check_sample({"op": "pool"}, {"op": ["conv", "skip"]})
    Traceback (most recent call last):
    ValueError: the sample's 'op' is 'pool'; accepted are ['conv', 'skip']
    """
    if not isinstance(sample, Mapping):
        raise TypeError(f"the sample is {sample!r}; accepted are dicts, a choice for every label")
    if sample.keys() != candidates.keys():
        missing, unknown = candidates.keys() - sample.keys(), sample.keys() - candidates.keys()
        raise ValueError(
            "the sample is of another space: "
            + "; ".join(
                f"{what} {sorted(labels, key=str)}"
                for what, labels in (("it lacks", missing), ("it has unknown labels", unknown))
                if labels
            )
        )
    for label, choice in sample.items():
        try:
            known = choice in candidates[label]
        except (ValueError, RuntimeError):  # an array or a tensor
            known = False
        if not known:
            raise ValueError(
                f"the sample's {label!r} is {choice!r}; accepted are {candidates[label]}"
            )


def random_sample(candidates: Candidates, rng: np.random.Generator) -> Sample:
    """Draw every label uniformly and independently.

    Examples
    --------
    >>> random_sample({"a": [0, 1], "b": ["x"]}, np.random.default_rng(0))
    {'a': 1, 'b': 'x'}
    """
    sizes = [len(choices) for choices in candidates.values()]
    drawn = rng.integers(sizes)
    return {
        label: choices[i]
        for (label, choices), i in zip(candidates.items(), drawn.tolist(), strict=True)
    }


def distance(a: Sample, b: Sample, active: Callable[[Sample], Iterable[str]] | None = None) -> int:
    """Count the labels in which two samples differ (Hamming distance).

    Parameters
    ----------
    a, b
        Samples over the same labels.
    active
        Gives the active labels of a sample in a conditional space. A label counts when it is
        active in ``a`` or in ``b``. By default every label is active.

    Examples
    --------
    >>> distance({"op1": "conv", "op2": "conv"}, {"op1": "conv", "op2": "pool"})
    1
    """
    if a.keys() != b.keys():
        raise ValueError(f"samples have different labels: {sorted(a.keys() ^ b.keys())}")
    differing = [label for label in a if a[label] != b[label]]
    if active is None or not differing:
        return len(differing)
    counted = {*active(a), *active(b)}
    return sum(label in counted for label in differing)


def neighbour(
    sample: Sample,
    candidates: Candidates,
    rng: np.random.Generator,
    k: int = 1,
    labels: Iterable[str] | None = None,
) -> Sample:
    """Give ``k`` distinct labels, drawn uniformly, a different choice each.

    Parameters
    ----------
    sample
        Where to start; it is not changed.
    candidates
        What each label may take.
    rng
        The only source of randomness.
    k
        Number of labels to change.
    labels
        Labels that may change; by default all of them. Labels with a single candidate never do.

    Raises
    ------
    ValueError
        If fewer than ``k`` labels can change.

    Examples
    --------
    >>> neighbour({"a": 0, "b": 1}, {"a": [0], "b": [0, 1]}, np.random.default_rng(0))
    {'a': 0, 'b': 0}
    """
    names = candidates if labels is None else labels
    movable = [label for label in names if len(candidates[label]) > 1]
    if not 1 <= k <= len(movable):
        raise ValueError(
            f"k is {k!r}; accepted are 1 to {len(movable)}, the number of labels that can change"
        )
    if k == 1:  # the walk's hot path: an integer is cheaper than a choice without replacement
        changed = [movable[rng.integers(len(movable))]]
    else:
        changed = [movable[i] for i in rng.choice(len(movable), k, replace=False)]
    result = dict(sample)
    for label in changed:
        result[label] = _another(candidates[label], sample[label], rng)
    return result


def _another(choices: list[Any], current: Any, rng: np.random.Generator) -> Any:
    """Draw uniformly from the choices other than the current one."""
    others = [choice for choice in choices if choice != current]
    return others[rng.integers(len(others))]


def neighbours(
    sample: Sample, candidates: Candidates, labels: Iterable[str] | None = None
) -> Iterator[Sample]:
    """Yield every sample that differs from this one in exactly one label.

    Examples
    --------
    >>> list(neighbours({"a": 0}, {"a": [0, 1, 2]}))
    [{'a': 1}, {'a': 2}]
    """
    for label in candidates if labels is None else labels:
        for choice in candidates[label]:
            if choice != sample[label]:
                yield {**sample, label: choice}


def crossover(a: Sample, b: Sample, rng: np.random.Generator) -> Sample:
    """Take every label from one of two parents, each with probability one half.

    Examples
    --------
    >>> crossover({"a": 0, "b": 0}, {"a": 1, "b": 1}, np.random.default_rng(0))
    {'a': 1, 'b': 1}
    """
    if a.keys() != b.keys():
        raise ValueError(f"samples have different labels: {sorted(a.keys() ^ b.keys())}")
    from_b = rng.integers(2, size=len(a)).tolist()
    return {label: (b if take else a)[label] for label, take in zip(a, from_b, strict=True)}


def digest(sample: Sample) -> str:
    """Name a sample by 16 hexadecimal digits that depend on nothing but its content.

    The order of labels, the process and the machine do not matter.

    Examples
    --------
    >>> digest({"a": 0, "b": "conv"}) == digest({"b": "conv", "a": 0})
    True
    """
    text = json.dumps(sample, sort_keys=True, separators=(",", ":"), default=plain)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def plain(value: Any) -> Any:
    """Write for JSON what it does not know: numpy's scalars as Python's, others as printed."""
    return value.item() if isinstance(value, np.generic) else repr(value)
