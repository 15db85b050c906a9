"""Search for the children that trade score and costs off best, by NSGA-II [Deb2002].

What a front is, :mod:`.front` says.

[Deb2002] Deb et al., A Fast and Elitist Multiobjective Genetic Algorithm: NSGA-II, IEEE
Transactions on Evolutionary Computation 6(2).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
from nni.mutable import Mutable, Sample

from ..scoring.scored import ScoredChild
from ..scoring.scores import Score, checked_scores, direction
from ..support.errors import check_count
from ..support.modes import Mode
from .front import ParetoFront, PricedChild
from .population import Population

__all__ = ["pareto_search"]

_logger = logging.getLogger(__name__)

Cost = Callable[[Sample], float]


def pareto_search(
    space: Mutable,
    score: Score,
    costs: Mapping[str, Cost],
    *,
    seed: int,
    generations: int = 20,
    population: int = 50,
    crossover: float = 0.5,
    mutation: float = 0.1,
    mode: Mode | None = None,
    filter: Any = None,
    start: Iterable[Sample] = (),
    known: MutableMapping[str, Sequence[float]] | None = None,
) -> ParetoFront:
    """Search for the children that trade score and costs off best.

    Parameters
    ----------
    space
        A model space, plain or already a supernet.
    score
        Scores a list of samples, a generation at a time; a
        :class:`~nni_magic.search.evaluation.ChildEvaluator` does.
    costs
        Name, with its unit, to a function of a sample: ``{"parameters (M)": ...}``. Less is
        better.
    seed
        Makes a run repeatable.
    generations
        Generations to score. The search ends earlier when no further child is found.
    population
        Children of a generation, and how many survive it.
    crossover, mutation, filter, start
        As of :class:`~nni_magic.search.population.Population`.
    mode
        ``min`` if a smaller score is better, ``max`` if a larger one is. By default what the score
        says, as a :class:`~nni_magic.search.evaluation.ChildEvaluator` does; a plain function's is
        ``min``.
    known
        A child's name to its score and costs, which are then not taken again. Every generation is
        added when it is scored, so that the same call with what is known from an interrupted
        search continues it exactly. It can be saved as JSON.

    Raises
    ------
    ModuleNotFoundError
        If pymoo is not installed.
    ValueError
        If there is no cost, a known child has another number of costs, or a setting is out of
        its range.
    """
    try:
        import pymoo  # noqa: F401
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "a search for the Pareto front needs pymoo: pip install nni-magic[pareto]"
        ) from error
    from .nsga2 import evolve

    check_count("generations", generations)
    mode = direction(score, mode)
    if not (isinstance(costs, Mapping) and costs and all(map(callable, costs.values()))):
        raise ValueError(
            f"costs is {costs!r}; accepted are mappings of at least one name to a function"
        )
    if not (known is None or isinstance(known, MutableMapping)):
        raise TypeError(f"known is {known!r}; accepted are dicts, which take what is scored")
    breeder = Population(
        space, size=population, seed=seed, mode=mode, filter=filter, start=start,
        crossover=crossover, mutation=mutation,
    )  # fmt: skip
    records = _Records(score, costs, mode, breeder.sampler.name, {} if known is None else known)
    steps = evolve(
        breeder.ask(), records.objectives, breeder.sampler, n_objectives=1 + len(costs),
        population=population, seed=seed, crossover=crossover, mutation=mutation,
    )  # fmt: skip
    for generation in islice(steps, generations):
        _logger.info(
            "Generation %d of %d: %d children scored, %d on the front",
            generation, generations, len(records.front.scored), len(records.front.children),
        )  # fmt: skip
    if failed := records.front.failed:
        _logger.warning(
            "The score or a cost of %d children is not finite, they are left out: %s",
            len(failed), ", ".join(failed),
        )  # fmt: skip
    return records.front


class _Records:
    """Takes the scores and costs that are not known, and keeps all of them."""

    def __init__(
        self,
        score: Score,
        costs: Mapping[str, Cost],
        mode: Mode,
        name: Callable[[Sample], str],
        known: MutableMapping[str, Sequence[float]],
    ) -> None:
        self.score = score
        self.costs = costs
        self.name = name
        self.known = known
        self.front = ParetoFront([], list(costs), mode)

    def objectives(self, samples: list[Sample]) -> np.ndarray:
        """Score a generation and give what is to be minimized, ``(children, 1 + costs)``."""
        names = [self.name(sample) for sample in samples]
        self._take({n: s for n, s in zip(names, samples, strict=True) if n not in self.known})
        children = [self._child(n, s) for n, s in zip(names, samples, strict=True)]
        self.front.scored.extend(children)
        return self.front.objectives(children)

    def _take(self, unknown: Mapping[str, Sample]) -> None:
        samples = list(unknown.values())
        scores = checked_scores(samples, self.score(samples)) if samples else []
        costs = [[float(cost(sample)) for cost in self.costs.values()] for sample in samples]
        for name, score, each in zip(unknown, scores, costs, strict=True):
            self.known[name] = [score, *each]

    def _child(self, name: str, sample: Sample) -> PricedChild:
        score, *costs = self.known[name]
        if len(costs) != len(self.costs):
            raise ValueError(
                f"known holds {len(costs)} costs of child {name}; accepted are those of "
                f"{', '.join(self.costs)}"
            )
        return PricedChild(ScoredChild(sample, score), name, tuple(costs))
