"""Evolution over inherited weights: search the children of a trained supernet [Guo2020].

As an NNI strategy it scores with a :class:`~nni_magic.search.evaluation.ChildEvaluator`::

    Evolution(seed=0)(RawFormatModelSpace.from_model(supernet, evaluator),
                      SequentialExecutionEngine())

and as a plain function with any callable from samples to scores::

    ranked = Evolution(seed=0).search(space, score)

[Guo2020] Guo et al., Single Path One-Shot Neural Architecture Search with Uniform Sampling, ECCV
2020, Sec. 3.4: 20 generations of 50 children, a label mutates with probability 0.1.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

from nni.mutable import Mutable, Sample
from nni.nas.evaluator.pytorch import Lightning
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.space import RawFormatModelSpace
from nni.nas.strategy import Strategy

from ..children.constraints import as_constraint
from ..scoring.listing import listed
from ..scoring.scored import ScoredChild
from ..scoring.scorer import Metric
from ..scoring.scores import Score, direction
from ..support.errors import check_count
from ..support.modes import Mode, mode_of
from .evaluation import ChildEvaluator
from .population import Population, check_settings, start_of
from .population_state import checked_state

__all__ = ["Evolution"]

_logger = logging.getLogger(__name__)


class Evolution(Strategy):
    """Breeds children from the best ones known, as :class:`Population` does.

    Its state after any generation can be saved and loaded, and the search then goes on as if it
    had never stopped. An NNI experiment saves it whenever it stops, also by an error.

    Parameters
    ----------
    generations
        How many to score in all. The search ends earlier when no further child is found.
    population
        Children of a generation; ``size`` of :class:`Population`.
    tournament, crossover, mutation
        How parents are drawn and offspring made; see :class:`Population`.
    seed
        Makes a run repeatable: same seed, same children. ``None`` draws one and logs it.
    filter
        Constraint on children, checked before they are scored: a callable, the arguments of NNI's
        ``RangeProfilerFilter`` in a dict, or a sequence of these.
    mode
        ``min`` if a smaller score is better, ``max`` if a larger one is. By default what the score
        says, as a :class:`~nni_magic.search.evaluation.ChildEvaluator` does, or the name of the
        metric, see :func:`nni_magic.support.modes.mode_of`; a plain function's is ``min``.
    metric, n_batches
        By which metric and on how many validation batches the strategy scores; see
        :class:`~nni_magic.search.evaluation.ChildEvaluator`. :meth:`search` is given its score.
    start
        Children of the first generation, e.g. the best ones that training saw.

    Raises
    ------
    ValueError
        If a setting is out of its range.
    """

    def __init__(
        self,
        *,
        generations: int = 20,
        population: int = 50,
        tournament: int = 8,
        crossover: float = 0.5,
        mutation: float = 0.1,
        seed: int | None = None,
        filter: Any = None,
        mode: Mode | None = None,
        metric: Metric = None,
        n_batches: int = 4,
        start: Iterable[Sample] = (),
    ) -> None:
        super().__init__()
        check_count("generations", generations)
        check_count("n_batches", n_batches)
        check_settings(
            size=population, tournament=tournament, crossover=crossover, mutation=mutation
        )  # fmt: skip
        if seed is None:
            seed = secrets.randbits(32)
            _logger.warning("No seed is given; drew %d, which repeats this run", seed)
        check_count("seed", seed, at_least=0)
        self.generations = generations
        self.seed = seed
        self.mode = mode if metric is None and mode is None else mode_of(metric, mode)
        self.metric = metric
        self.n_batches = n_batches
        self._breeding: dict[str, Any] = {
            "size": population,
            "tournament": tournament,
            "crossover": crossover,
            "mutation": mutation,
            "filter": as_constraint(filter),
            "start": start_of(start),
        }
        self._population: Population | None = None
        self._evaluate: ChildEvaluator | None = None
        self._loaded: dict[str, Any] = {}

    def search(self, space: Mutable, score: Score) -> list[ScoredChild]:
        """Search a space with any score.

        Parameters
        ----------
        space
            A model space, plain or already a supernet.
        score
            Scores a list of samples, a generation at a time.

        Returns
        -------
        list of ScoredChild
            All children scored, best first; a score that is not a number ranks last.

        Raises
        ------
        ValueError
            If the score says by its ``mode`` that the other direction is better.
        """
        mode = direction(score, self.mode)
        population = self.make_population(space, seed=self.seed, mode=mode, **self._breeding)
        if self._loaded:
            population.load_state_dict(self._loaded)
        self._population, self._loaded = population, {}
        while population.generation < self.generations:
            children = population.ask()
            if not children:
                _logger.info("No further child is found; the search ends")
                break
            population.tell(children, score(children))
            _logger.info(
                "Generation %d of %d: %d children scored, the best has %.6g",
                population.generation, self.generations, len(children), population.best(1)[0].score,
            )  # fmt: skip
        return population.best()

    def make_population(self, space: Mutable, **settings: Any) -> Population:
        """Create what chooses the children of every generation."""
        return Population(space, **settings)

    def _initialize(self, model_space: Any, engine: Any) -> RawFormatModelSpace:
        if not (
            isinstance(engine, SequentialExecutionEngine)
            and isinstance(model_space, RawFormatModelSpace)
        ):
            raise TypeError(
                f"{type(self).__name__} got a {type(engine).__name__} and a "
                f"{type(model_space).__name__}; accepted are a SequentialExecutionEngine and a "
                "RawFormatModelSpace, which an experiment has with "
                "NasExperimentConfig('sequential', 'raw', 'local'): children are scored with "
                "inherited weights, in this process"
            )
        evaluator = model_space.evaluator
        if not isinstance(evaluator, Lightning):
            raise TypeError(
                f"the evaluator is a {type(evaluator).__name__}; accepted are NNI's Lightning "
                "evaluators"
            )
        if isinstance(evaluator, Mutable) and evaluator.simplify():
            raise ValueError(
                "the evaluator has choices of its own, and inherited weights have seen none of "
                f"them: {sorted(evaluator.simplify())}"
            )
        return model_space

    def _run(self) -> None:
        space = cast(RawFormatModelSpace, self.model_space)
        self._evaluate = ChildEvaluator(
            space.model_space, space.evaluator,
            metric=self.metric, mode=self.mode, n_batches=self.n_batches,
        )  # fmt: skip
        self.search(space.model_space, self._evaluate)

    def list_models(
        self, sort: bool = True, limit: int | None = 1
    ) -> Iterator[RawFormatModelSpace]:
        """Give the best children scored, best first, each with its score as ``metric``.

        Their models have copies of the weights, and the BatchNorm statistics, that they were scored
        with. They are made when they are asked for.

        Parameters
        ----------
        sort
            Must be true, as in NNI's one-shot strategies.
        limit
            How many; ``None`` gives all.
        """
        if not sort:
            name = type(self).__name__
            raise ValueError(f"sort is False; accepted is True: {name} lists its best models")
        if self._population is None or self._evaluate is None:
            raise RuntimeError(
                f"{type(self).__name__} has not run: there are no models to list"
            )
        best = self._population.best(limit)
        if limit is not None and limit > len(best):
            _logger.warning("%d models are requested, but %d are known", limit, len(best))
        space = cast(RawFormatModelSpace, self.model_space)
        for child in best:
            yield listed(space, child.sample, child.score, self._evaluate.child)

    def state_dict(self) -> dict[str, Any]:
        """The state after the last whole generation, in plain types; empty before a search."""
        return self._loaded if self._population is None else self._population.state_dict()

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Let the next search, and no later one, continue where :meth:`state_dict` was taken.

        Raises
        ------
        ValueError
            If it is no such state.
        """
        if state_dict != {}:  # as it is before a search
            checked_state(state_dict)
        self._loaded = dict(state_dict)
        self._population = None
