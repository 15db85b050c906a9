"""NSGA-II over samples: pymoo's algorithm with the variation of :mod:`.population`.

An individual of pymoo has one variable, which is a sample. Only :mod:`.pareto` imports this
module, for pymoo is an optional dependency.

[Deb2002] Deb et al., A Fast and Elitist Multiobjective Genetic Algorithm: NSGA-II, IEEE
Transactions on Evolutionary Computation 6(2).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from nni.mutable import Sample
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.core.crossover import Crossover
from pymoo.core.duplicate import DuplicateElimination
from pymoo.core.mutation import Mutation
from pymoo.core.problem import Problem
from pymoo.core.termination import NoTermination

from ..children.samples import Candidates, crossover
from ..samplers.base import Sampler
from .population import mutate

__all__ = ["evolve"]

Objectives = Callable[[list[Sample]], np.ndarray]


def evolve(
    first: Sequence[Sample],
    objectives: Objectives,
    sampler: Sampler,
    *,
    n_objectives: int,
    population: int,
    seed: int,
    crossover: float,
    mutation: float,
) -> Iterator[int]:
    """Run NSGA-II, a generation at a time, until no new child turns up.

    Parameters
    ----------
    first
        The first generation: distinct children, all allowed.
    objectives
        Gives the objectives, all to be minimized, ``(children, n_objectives)``, of a generation.
        A child one of whose objectives is not finite ranks behind all others.
    sampler
        Knows the candidates, the constraints and the names of children.
    population
        How many children survive a generation, and how many offspring it has.
    seed
        Makes a run repeatable.
    crossover, mutation
        Probability that an offspring has two parents, and that a label of it then changes.

    Yields
    ------
    int
        The number of the generation that was scored.
    """
    algorithm = NSGA2(
        pop_size=population,
        sampling=_individuals(first),
        crossover=_Crossover(prob=crossover),
        mutation=_Mutation(sampler.candidates, mutation),
        eliminate_duplicates=_OnlyNew(sampler),
    )
    problem = _Scoring(objectives, n_objectives)
    algorithm.setup(problem, termination=NoTermination(), seed=seed)
    generation = 0
    while (children := algorithm.ask()) is not None:
        algorithm.evaluator.eval(problem, children)
        algorithm.tell(infills=children)
        generation += 1
        yield generation


def _individuals(children: Sequence[Sample]) -> np.ndarray:
    """Samples as pymoo's ``(individuals, 1)`` array of objects."""
    array = np.empty((len(children), 1), dtype=object)
    array[:, 0] = children
    return array


class _Scoring(Problem):
    """Scores a generation in one call."""

    def __init__(self, objectives: Objectives, n_objectives: int) -> None:
        # The one constraint is that all objectives are finite: NSGA-II ranks children that meet
        # their constraints first, and would take a cheap child of no score for a good one.
        super().__init__(n_var=1, n_obj=n_objectives, n_ieq_constr=1)
        self.objectives = objectives

    def _evaluate(self, x: np.ndarray, out: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        values = self.objectives(list(x[:, 0]))
        finite = np.isfinite(values).all(axis=1, keepdims=True)
        out["F"] = np.where(finite, values, 0.0)
        out["G"] = np.where(finite, -1.0, 1.0)


class _Crossover(Crossover):
    def __init__(self, prob: float) -> None:
        super().__init__(n_parents=2, n_offsprings=1, prob=prob)

    def _do(
        self,
        problem: Any,
        X: np.ndarray,  # noqa: N803  # pymoo's name
        *args: Any,
        random_state: Any,
        **kwargs: Any,
    ) -> np.ndarray:
        """Cross parents, ``(2, matings, 1)``, to offspring, ``(1, matings, 1)``."""
        children = [crossover(a, b, random_state) for a, b in X[:, :, 0].T]
        return _individuals(children)[None]


class _Mutation(Mutation):
    def __init__(self, candidates: Candidates, probability: float) -> None:
        super().__init__()
        self.candidates = candidates
        self.probability = probability

    def _do(
        self,
        problem: Any,
        X: np.ndarray,  # noqa: N803  # pymoo's name
        *args: Any,
        random_state: Any,
        **kwargs: Any,
    ) -> np.ndarray:
        return _individuals(
            [mutate(child, self.candidates, random_state, self.probability) for child in X[:, 0]]
        )


class _OnlyNew(DuplicateElimination):
    """Keeps the children that are allowed and were never given before."""

    def __init__(self, sampler: Sampler) -> None:
        super().__init__()
        self.sampler = sampler
        self.given: set[str] = set()

    def do(self, pop: Any, *others: Any, **options: Any) -> Any:
        """Filter individuals, which count as given from now on; pymoo uses all of them."""
        return pop[[self._is_new(individual.X[0]) for individual in pop]]

    def _is_new(self, child: Sample) -> bool:
        if not self.sampler.allows(child):
            return False
        name = self.sampler.name(child)
        new = name not in self.given
        self.given.add(name)
        return new
