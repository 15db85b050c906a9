"""Trade a child's score off against its costs: the Pareto front by NSGA-II [Deb2002].

A child dominates another if it is nowhere worse, in its score and in all costs, and somewhere
better. The front is what no child dominates, among *all* that were scored.

[Deb2002] Deb et al., A Fast and Elitist Multiobjective Genetic Algorithm: NSGA-II, IEEE
Transactions on Evolutionary Computation 6(2).
"""

from __future__ import annotations

import csv
import logging
import math
import os
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from nni.mutable import Mutable, Sample

from ..scoring.scorer import Mode
from ..support.errors import check_count
from .population import Population, Score, check_direction, checked_scores

__all__ = ["ParetoFront", "ScoredChild", "non_dominated", "pareto_search"]

_logger = logging.getLogger(__name__)

Cost = Callable[[Sample], float]


@dataclass(frozen=True)
class ScoredChild:
    """A child, its name, its score and its costs."""

    sample: Sample
    name: str
    score: float
    costs: tuple[float, ...]

    def is_finite(self) -> bool:
        """Tell whether the score and all costs are finite numbers."""
        return all(map(math.isfinite, (self.score, *self.costs)))


@dataclass(frozen=True)
class ParetoFront:
    """What a search with costs found.

    Attributes
    ----------
    scored : list of ScoredChild
        All children scored, in the order of scoring.
    cost_names : list of str
        Names of the costs, in the order of ``ScoredChild.costs``.
    mode : str
        Whether a smaller (``min``) or a larger (``max``) score is better. Costs are better small.
    """

    scored: list[ScoredChild]
    cost_names: list[str]
    mode: Mode

    def objectives(self, children: Sequence[ScoredChild]) -> np.ndarray:
        """Score and costs of children, all to be minimized, ``(children, 1 + costs)``."""
        sign = 1 if self.mode == "min" else -1
        rows = [[sign * child.score, *child.costs] for child in children]
        return np.array(rows, dtype=float).reshape(len(children), 1 + len(self.cost_names))

    @property
    def children(self) -> list[ScoredChild]:
        """The front: the non-dominated children, sorted by cost, the first one named first.

        Children that have a score or a cost that is not finite are left out.
        """
        finite = [child for child in self.scored if child.is_finite()]
        kept = non_dominated(self.objectives(finite))
        front = [child for child, keep in zip(finite, kept, strict=True) if keep]
        return sorted(front, key=lambda child: child.costs)

    @property
    def failed(self) -> list[str]:
        """Names of the children that have a score or a cost that is not finite."""
        return [child.name for child in self.scored if not child.is_finite()]

    def write_csv(self, path: str | os.PathLike[str]) -> None:
        """Write the front: a child's name, score, costs, and its choice for every label."""
        front = self.children
        labels = list(front[0].sample) if front else []
        with open(path, "w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow(["child", "score", *self.cost_names, *labels])
            for child in front:
                choices = [child.sample[label] for label in labels]
                table.writerow([child.name, child.score, *child.costs, *choices])

    def plot(
        self, path: str | os.PathLike[str], *, score_label: str, cost: str | None = None
    ) -> None:
        """Draw score over cost: all children scored, and the front as a line of steps.

        Parameters
        ----------
        path
            Where the picture goes; its ending decides the format.
        score_label
            Label of the score's axis, with its unit.
        cost
            Name of the cost to draw, by default the first; it labels the other axis. With several
            costs the line is the front of score and this cost alone, and children that are on the
            front for another cost lie off it.

        Raises
        ------
        ModuleNotFoundError
            If matplotlib is not installed.
        ValueError
            If no cost has that name, or no child has a finite score and finite costs.
        """
        try:
            from matplotlib.figure import Figure
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "a picture of the front needs matplotlib: pip install nni-magic[plots]"
            ) from error
        column = self._column(cost)
        finite = [child for child in self.scored if child.is_finite()]
        if not finite:
            raise ValueError("there is no front to draw: no child has a finite score and costs")
        figure = Figure(figsize=(6.4, 4.4), layout="constrained")
        axes = figure.subplots()
        self._draw(axes, finite, column)
        axes.set(xlabel=self.cost_names[column], ylabel=score_label)
        figure.savefig(path, dpi=160)

    def _draw(self, axes: Any, finite: list[ScoredChild], column: int) -> None:
        def points(children: Iterable[ScoredChild]) -> np.ndarray:
            return np.array([(child.costs[column], child.score) for child in children]).T

        front = self.children
        on_line = non_dominated(self.objectives(finite)[:, [0, 1 + column]])
        line = sorted(
            (child for child, keep in zip(finite, on_line, strict=True) if keep),
            key=lambda child: child.costs[column],
        )
        # Grey and blue of the palette of Okabe and Ito, which differ in lightness too.
        axes.scatter(
            *points(finite), s=16, color="#b8b8b8", linewidths=0,
            label=f"scored children ({len(finite)})",
        )  # fmt: skip
        axes.plot(*points(line), color="#0072b2", linewidth=1.6, drawstyle="steps-post")
        axes.plot(
            *points(front), "o", color="#0072b2", markersize=6, markeredgecolor="white",
            label=f"Pareto front ({len(front)})",
        )  # fmt: skip
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#e6e6e6", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.legend(frameon=False)

    def _column(self, cost: str | None) -> int:
        if cost is None:
            return 0
        if cost not in self.cost_names:
            raise ValueError(f"cost is {cost!r}; the costs are {', '.join(self.cost_names)}")
        return self.cost_names.index(cost)


def non_dominated(objectives: np.ndarray) -> np.ndarray:
    """Mark the rows that no other row dominates; equal rows do not dominate each other.

    Parameters
    ----------
    objectives
        ``(n, m)``, all to be minimized.

    Returns
    -------
    ndarray of bool
        ``(n,)``.

    Examples
    --------
    >>> non_dominated(np.array([[1, 3], [2, 2], [2, 4]])).tolist()
    [True, True, False]
    """
    kept = np.ones(len(objectives), dtype=bool)
    for i, row in enumerate(objectives):
        no_worse = (objectives <= row).all(axis=1)
        kept[i] = not (no_worse & (objectives < row).any(axis=1)).any()
    return kept


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
    mode: Mode = "min",
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
        How many to score. The search ends earlier when no further child is found.
    population
        Children of a generation, and how many survive it.
    crossover, mutation, filter, start
        As of :class:`~nni_magic.search.population.Population`.
    mode
        ``min`` if a smaller score is better, ``max`` if a larger one is.
    known
        A child's name to its score and costs, which are then not taken again. Every generation is
        added when it is scored, so that the same call with what is known from an interrupted
        search continues it exactly. It can be saved as JSON.

    Raises
    ------
    ModuleNotFoundError
        If pymoo is not installed.
    ValueError
        If there is no cost, or what is known has another number of them, or a setting is out of
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
    check_direction(score, mode)
    if not costs:
        raise ValueError("there are no costs; a front needs at least one")
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

    def _child(self, name: str, sample: Sample) -> ScoredChild:
        score, *costs = self.known[name]
        if len(costs) != len(self.costs):
            raise ValueError(
                f"known child {name} has {len(costs)} costs; the costs are {', '.join(self.costs)}"
            )
        return ScoredChild(sample, name, score, tuple(costs))
