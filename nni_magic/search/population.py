"""Evolution of children by asking and telling; whoever asks does the scoring.

A generation is made of the ``size`` best children known [Guo2020]: parents are winners of
tournaments among them, an offspring is the crossover of two parents or the copy of one, then
mutated. No child is given twice. What generation ``g`` is depends on the seed, ``g`` and the
scores told before, and on nothing else: its random generator is seeded by ``(seed, g)``. So the
state between generations is a seed, a count and the scores, and a run continues from it exactly.

[Guo2020] Guo et al., Single Path One-Shot Neural Architecture Search with Uniform Sampling, ECCV
2020, Sec. 3.4 and Algorithm 1.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from nni.mutable import LabeledMutable, Mutable, Sample

from ..children.json_samples import in_space
from ..children.samples import Candidates, crossover, neighbour
from ..samplers.uniform import UniformSampler
from ..scoring.scored import ScoredChild
from ..scoring.scores import checked_scores
from ..support.errors import check_choice, check_count, check_number
from ..support.modes import Mode
from .population_state import checked_state

__all__ = ["Population", "check_settings", "mutate", "start_of"]

_logger = logging.getLogger(__name__)


class Population:
    """The children known with their scores, and the next generation of them.

    Parameters
    ----------
    space
        A model space, plain or already a supernet, or what its ``simplify()`` returns.
    size
        Children of a generation, and how many of the best known children may be parents.
    seed
        Makes a run repeatable: same seed and same scores, same children.
    mode
        Whether a smaller (``min``) or a larger (``max``) score is better.
    filter
        Constraint on children, checked before they are given; see
        :func:`nni_magic.children.constraints.as_constraint`.
    start
        Children of the first generation, which is filled up with random ones.
    tournament
        How many of the ``size`` best are drawn, with replacement; the best drawn is a parent.
        The default, 8 among 50, gives parents of mean rank 6.1; [Guo2020] draws uniformly from
        the best 10, of mean rank 5.5, and never from the others.
    crossover
        Probability that an offspring has two parents; [Guo2020] makes half of them so.
    mutation
        Probability, for each label, to take a different choice. [Guo2020] mutates only the
        offspring of a single parent.

    Attributes
    ----------
    generation : int
        Generations told so far.
    sampler : UniformSampler
        Knows the candidates, the constraints and the names of children.

    Raises
    ------
    ValueError
        If a setting is out of its range, or a child of ``start`` is not in the space or not
        allowed.
    """

    def __init__(
        self,
        space: Mutable | Mapping[str, LabeledMutable],
        *,
        seed: int,
        size: int = 50,
        mode: Mode = "min",
        filter: Any = None,
        start: Iterable[Sample] = (),
        tournament: int = 8,
        crossover: float = 0.5,
        mutation: float = 0.1,
    ) -> None:
        check_choice("mode", mode, ("min", "max"))
        check_settings(size=size, tournament=tournament, crossover=crossover, mutation=mutation)
        check_count("seed", seed, at_least=0)
        self.size = size
        self.mode = mode
        self.seed = seed
        self.tournament = tournament
        self.crossover = crossover
        self.mutation = mutation
        self.generation = 0
        self.sampler = UniformSampler(space, seed=seed, filter=filter)
        self._scored: dict[str, ScoredChild] = {}  # by the child's name, in the order of scoring
        self._asked: dict[str, Sample] | None = None
        self._start = [self._allowed_start(sample) for sample in start_of(start)]

    def ask(self) -> list[Sample]:
        """Give the next generation, the same one until it is told.

        Returns
        -------
        list of dict
            Distinct children, all allowed and none of them scored before. They are fewer than
            ``size``, and at last none, when no others turn up among 40 offspring and 40 random
            samples for each child wanted (1000 at least).

        Raises
        ------
        RuntimeError
            If there is no child to begin with because the constraints reject all.
        """
        if self._asked is None:
            self._asked = self._propose()
        return [dict(sample) for sample in self._asked.values()]

    def tell(self, samples: Sequence[Sample], scores: Iterable[float]) -> None:
        """Take the scores of the children asked, all of them, in any order.

        A score that is not a number ranks last; see :attr:`failed`.

        Raises
        ------
        ValueError
            If the samples are not those asked, or there are more or fewer scores.
        """
        asked = {} if self._asked is None else self._asked
        names = [self.sampler.name(self._own(sample, "sample told")) for sample in samples]
        told = dict(zip(names, checked_scores(samples, scores), strict=True))
        if told.keys() != asked.keys():
            raise ValueError(
                f"{len(samples)} samples are told, but the generation asked has {len(asked)}; not "
                f"asked {sorted(told.keys() - asked.keys())}, missing "
                f"{sorted(asked.keys() - told.keys())}"
            )
        self._scored |= {name: ScoredChild(sample, told[name]) for name, sample in asked.items()}
        self.generation += 1
        self._asked = None
        if failed := [name for name in asked if math.isnan(told[name])]:
            _logger.warning(
                "Generation %d: the score of %d children is not a number, they rank last: %s",
                self.generation, len(failed), ", ".join(failed),
            )  # fmt: skip

    @property
    def failed(self) -> list[str]:
        """Names of the children whose score is not a number."""
        return [name for name, child in self._scored.items() if math.isnan(child.score)]

    def best(self, k: int | None = None) -> list[ScoredChild]:
        """Give the ``k`` best children, or all; of equals the one scored first comes first."""
        sign = 1 if self.mode == "min" else -1
        ranked = sorted(
            self._scored.values(), key=lambda child: (math.isnan(child.score), sign * child.score)
        )
        return [ScoredChild(dict(child.sample), child.score) for child in ranked[:k]]

    def state_dict(self) -> dict[str, Any]:
        """The state after the last generation told, in plain types."""
        scored = [[dict(child.sample), child.score] for child in self._scored.values()]
        return {"seed": self.seed, "generation": self.generation, "scored": scored}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where :meth:`state_dict` was taken, with the seed from there.

        Raises
        ------
        ValueError
            If it is no such state, or of a space with other labels or choices.
        """
        scored = checked_state(state)
        children = [ScoredChild(self._own(s, "the state's sample"), score) for s, score in scored]
        named = {self.sampler.name(child.sample): child for child in children}
        if len(named) < len(children):
            raise ValueError(
                f"the state's scored has {len(children)} children, of which {len(named)} differ; "
                "accepted are those that all differ"
            )
        self.seed = state["seed"]
        self.generation = state["generation"]
        self._scored = named
        self._asked = None

    def _propose(self) -> dict[str, Sample]:
        rng = np.random.default_rng([self.seed, self.generation, 0])
        self.sampler.reset([self.seed, self.generation, 1])
        children: dict[str, Sample] = {}
        if self.generation == 0:
            first = self._start or [self.sampler.next()]
            children = {self.sampler.name(sample): sample for sample in first}
        if parents := [child.sample for child in self.best(self.size)]:
            self._fill(children, lambda: self._offspring(parents, rng), self.size)
        self._fill(children, self.sampler.propose, self.size)
        return children

    def _fill(self, children: dict[str, Sample], draw: Callable[[], Sample], size: int) -> None:
        """Add new children until there are as many or too many proposals were drawn."""
        for _ in range(max(self.sampler.tries, 40 * size)):
            if len(children) >= size:
                return
            sample = draw()
            if self.sampler.allows(sample):
                name = self.sampler.name(sample)
                if name not in self._scored:
                    children.setdefault(name, sample)

    def _offspring(self, parents: list[Sample], rng: np.random.Generator) -> Sample:
        def parent() -> Sample:  # the parents are ranked: the least index is the best
            return parents[rng.integers(len(parents), size=self.tournament).min()]

        child = parent()
        if rng.random() < self.crossover:
            child = crossover(child, parent(), rng)
        return mutate(child, self.sampler.candidates, rng, self.mutation)

    def _allowed_start(self, sample: Sample) -> Sample:
        sample = self._own(sample, "start sample")
        if not self.sampler.allows(sample):
            raise ValueError(
                f"start sample {sample} is not allowed by the space's constraint or "
                f"filter {self.sampler.filter!r}"
            )
        return sample

    def _own(self, sample: Sample, what: str) -> Sample:
        """Give a sample, which may have been JSON, with the space's own choices."""
        try:
            return in_space(sample, self.sampler.candidates)
        except ValueError as error:
            raise ValueError(f"{what} {sample} is not in the space: {error}") from None


def mutate(
    sample: Sample, candidates: Candidates, rng: np.random.Generator, probability: float
) -> Sample:
    """Give each label, with a probability, a different choice, uniform over the others.

    Examples
    --------
    >>> mutate({"a": 0, "b": 0}, {"a": [0, 1], "b": [0]}, np.random.default_rng(0), 1.0)
    {'a': 1, 'b': 0}
    """
    movable = [label for label, choices in candidates.items() if len(choices) > 1]
    k = rng.binomial(len(movable), probability)
    return neighbour(sample, candidates, rng, k, movable) if k else dict(sample)


def start_of(start: Any) -> list[Sample]:
    """Give the children to start with as a list, or a ``TypeError`` if they are none."""
    try:
        samples = list(start)
    except TypeError:
        raise TypeError(f"start is {start!r}; accepted are lists of samples") from None
    for sample in samples:
        if not isinstance(sample, Mapping):
            raise TypeError(f"start holds {sample!r}; accepted are dicts, a choice for every label")
    return samples


def check_settings(*, size: int, tournament: int, crossover: float, mutation: float) -> None:
    """Raise a ``ValueError`` for a setting of a :class:`Population` that is out of its range."""
    check_count("population size", size)
    check_count("tournament", tournament)
    check_number("crossover", crossover, at_least=0, at_most=1)
    check_number("mutation", mutation, at_least=0, at_most=1)
