r"""Costs of children that are sums, each summand looked up in a table.

.. math:: c(\alpha) = c_0 + \sum_i c_i(\alpha_{S_i})

FLOPs, parameters and the latency of a chain are of this form: a summand depends on the choices of
a few labels :math:`S_i`, most often of one. NNI's profilers walk through one expression of the
whole model for every sample. Here each summand is computed once for the choices that it depends
on, which makes a constraint cheap enough to be asked at every training step, and the cheapest and
the dearest child can be told without looking at all.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import nni_bootstrap  # noqa: F401
from nni.mutable import Categorical, Sample
from nni.mutable.symbol import SymbolicExpression
from nni.nas.profiler import ExpressionProfiler, Profiler

from .samples import Candidates

__all__ = ["CostSum", "Summand", "tabulated"]

TABLE_SIZE = 2**14
"""Most entries of a table; a summand that would need more is computed every time."""

JOINT_SIZE = 2**9
"""Most combinations of choices tried together: some expressions of NNI take ms each."""


class Summand:
    """One summand of a cost, remembered for all choices that it was computed for.

    Parameters
    ----------
    candidates
        Label to its choices, of the labels that the summand depends on, at least one. ``None``
        where it is not known what a label may take; nothing is remembered then.
    compute
        The cost, given a sample that has at least these labels.
    """

    def __init__(
        self,
        candidates: Mapping[str, Sequence[Any] | None],
        compute: Callable[[Sample], float],
    ) -> None:
        self.candidates = candidates
        self.compute = compute
        self.size = math.prod(
            math.inf if choices is None else len(choices) for choices in candidates.values()
        )
        self._choices = operator.itemgetter(*candidates)
        self._known: dict[Any, float] = {}

    def __call__(self, sample: Sample) -> float:
        if self.size > TABLE_SIZE:
            return self.compute(sample)
        choices = self._choices(sample)
        try:
            return self._known[choices]
        except KeyError:
            cost = self._known[choices] = self.compute(sample)
            return cost
        except TypeError:  # a choice is a list, which nothing can be remembered by
            return self.compute(sample)


class CostSum(Profiler):
    """A cost of children that is a constant and a sum.

    It is a profiler of NNI, for its filters, and a function of a sample.

    Parameters
    ----------
    constant
        What all children cost.
    summands
        What choices add to it.

    Examples
    --------
    >>> kernel = Summand({"kernel": [3, 5]}, lambda sample: sample["kernel"] ** 2)
    >>> cost = CostSum(1, [kernel])
    >>> cost({"kernel": 3}), cost.extremes()
    (10, (10, 26))
    """

    def __init__(self, constant: float, summands: Sequence[Summand]) -> None:
        self.constant = constant
        self.summands = summands

    def profile(self, sample: Sample) -> float:
        """Compute the cost of a child."""
        return self.constant + sum([summand(sample) for summand in self.summands])

    def __call__(self, sample: Sample) -> float:
        return self.profile(sample)

    def check_covers(self, candidates: Candidates) -> None:
        """Make sure that the cost of all children of a space can be told.

        The space needs the labels that the cost depends on, and may have others: the kind of an
        activation, for one, costs no FLOPs.

        Raises
        ------
        ValueError
            If the space lacks a label.
        """
        labels = {label for summand in self.summands for label in summand.candidates}
        if missing := sorted(labels - candidates.keys()):
            raise ValueError(
                f"it depends on labels {missing}, which the space does not have; the space's "
                f"labels are {sorted(candidates)}"
            )

    def extremes(self) -> tuple[float, float] | None:
        """Find the costs of the cheapest and of the dearest child, exactly.

        Returns
        -------
        tuple or None
            ``None`` where too many labels hang together for it to be found. A constraint of the
            space that forbids some children is not known here.
        """
        smallest, largest = self._best(min, self.summands), self._best(max, self.summands)
        return None if smallest is None or largest is None else (smallest[0], largest[0])

    def extreme_sample(self, candidates: Candidates, *, largest: bool) -> Sample | None:
        """Find the cheapest or the dearest child, exactly, among those of given candidates.

        Of labels that cost nothing it has the first candidates, and so of choices that cost as
        much.

        Returns
        -------
        dict or None
            ``None`` as for :meth:`extremes`.

        Examples
        --------
        >>> kernel = Summand({"kernel": [3, 5, 7]}, lambda sample: sample["kernel"] ** 2)
        >>> CostSum(1, [kernel]).extreme_sample({"kernel": [3, 5], "op": ["a"]}, largest=True)
        {'kernel': 5, 'op': 'a'}
        """
        left = [
            Summand({label: candidates[label] for label in summand.candidates}, summand)
            for summand in self.summands
        ]
        found = self._best(max if largest else min, left)
        if found is None:
            return None
        return {label: found[1].get(label, choices[0]) for label, choices in candidates.items()}

    def _best(
        self, best: Callable[..., Any], summands: Sequence[Summand]
    ) -> tuple[float, Sample] | None:
        """Choose label by label: with the others fixed, a label matters only to its own summands.

        (Elimination of variables, also known as dynamic programming over a tree of labels.)
        """
        total, summands, eliminated = self.constant, list(summands), []
        while summands:
            joined, label = min(_by_label(summands), key=lambda each: _joint_size(each[0]))
            if _joint_size(joined) > JOINT_SIZE:
                return None
            summands = [summand for summand in summands if summand not in joined]
            candidates = {k: v for summand in joined for k, v in summand.candidates.items()}
            choices = candidates.pop(label)
            assert choices is not None  # the size would be infinite
            compute = partial(_best_of, best, label, choices, joined)
            eliminated.append((label, choices, joined))
            if candidates:
                summands.append(Summand(candidates, compute))
            else:
                total += compute({})
        sample: Sample = {}
        for label, choices, joined in reversed(eliminated):  # what a label waits for is known then
            sample[label] = best(choices, key=partial(_with, sample, label, joined))
        return total, sample


def _by_label(summands: Sequence[Summand]) -> list[tuple[list[Summand], str]]:
    """Pair all labels with the summands that depend on them."""
    labels = dict.fromkeys(label for summand in summands for label in summand.candidates)
    return [([s for s in summands if label in s.candidates], label) for label in labels]


def _joint_size(summands: Sequence[Summand]) -> float:
    """Combinations of the labels that summands depend on."""
    candidates = {k: v for summand in summands for k, v in summand.candidates.items()}
    return math.prod(math.inf if v is None else len(v) for v in candidates.values())


def _best_of(
    best: Callable[..., Any],
    label: str,
    choices: Sequence[Any],
    summands: Sequence[Summand],
    sample: Sample,
) -> float:
    cost: float = best(_with(sample, label, summands, choice) for choice in choices)
    return cost


def _with(sample: Sample, label: str, summands: Sequence[Summand], choice: Any) -> float:
    """What some summands cost when a label takes a choice."""
    return sum(summand({**sample, label: choice}) for summand in summands)


def tabulated(profiler: Profiler) -> Profiler:
    """Give the same costs faster, where NNI has them as an expression.

    Sums are added up in another order, which changes nothing in whole numbers, such as FLOPs.

    Parameters
    ----------
    profiler
        Any of NNI's. One that has no expression, or more than that, is given back.
    """
    if type(profiler).profile is not ExpressionProfiler.profile:
        return profiler
    constant: float = 0
    alike: dict[frozenset[str], list[Any]] = {}
    leaves: dict[str, Any] = {}
    for summand in _summands(profiler.expression):
        if isinstance(summand, SymbolicExpression):
            own = {str(leaf.label): leaf for leaf in summand.leaf_symbols()}
            leaves |= own
            alike.setdefault(frozenset(own), []).append(summand)
        else:
            constant += summand
    choices = {
        label: list(leaf.values) if isinstance(leaf, Categorical) else None
        for label, leaf in leaves.items()
    }
    return CostSum(
        constant,
        [
            Summand({label: choices[label] for label in sorted(labels)}, partial(_total, summands))
            for labels, summands in alike.items()
        ],
    )


def _summands(expression: Any) -> Iterator[Any]:
    """Take a sum of sums apart."""
    if getattr(expression, "function", None) is operator.add:
        for argument in expression.arguments:
            yield from _summands(argument)
    else:
        yield expression


def _total(expressions: Sequence[SymbolicExpression], sample: Sample) -> float:
    return sum(expression.evaluate(sample) for expression in expressions)
