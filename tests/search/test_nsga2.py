"""NSGA-II over samples, on objectives that a table gives."""

import itertools
import math

import numpy as np
import pytest
from spaces import FlatSpace

from nni_magic.samplers import UniformSampler
from nni_magic.search.nsga2 import evolve

CHOICES = range(4)


WEIGHTS = np.array([[1.0, 9.0], [2.0, 7.0], [3.0, 3.0], [7.0, 2.0], [9.0, 1.0], [4.0, 5.0]])


def objectives(samples):
    """Two that cannot both be least: a larger choice raises one and lowers the other."""
    choices = np.array([list(sample.values()) for sample in samples])
    weights = WEIGHTS[: choices.shape[1]]
    return np.stack([choices @ weights[:, 0], (3 - choices) @ weights[:, 1]], axis=1)


class Run:
    """Scored generations of one run."""

    def __init__(
        self, n_generations, *, objectives=objectives, filter=None, seed=0, population=8, n_blocks=3
    ):
        sampler = UniformSampler(FlatSpace(n_blocks, 4), seed=seed, filter=filter)
        first = {}
        while len(first) < population:
            child = sampler.next()
            first.setdefault(sampler.name(child), child)
        self.generations = []

        def scored(samples):
            self.generations.append(samples)
            return objectives(samples)

        steps = evolve(
            list(first.values()), scored, sampler, n_objectives=2, population=population,
            seed=seed, crossover=0.5, mutation=0.2,
        )  # fmt: skip
        self.numbers = list(itertools.islice(steps, n_generations))

    @property
    def children(self):
        return [tuple(child.values()) for children in self.generations for child in children]


def test_generations_are_numbered_and_no_child_is_scored_twice():
    run = Run(5)
    assert run.numbers == [1, 2, 3, 4, 5]
    assert [len(children) for children in run.generations] == [8] * 5
    assert len(set(run.children)) == 40


def test_run_ends_when_no_new_child_turns_up():
    run = Run(1000)
    assert len(run.numbers) < 100
    assert len(set(run.children)) == len(run.children) <= 4**3


def test_only_allowed_children_are_scored():
    run = Run(5, filter=lambda sample: sample["block_1"] < 2)
    assert len(run.children) > 20
    assert all(first < 2 for first, *_ in run.children)


def test_same_seed_same_children_whatever_the_global_generator():
    first = Run(4).generations
    np.random.seed(5)
    assert Run(4).generations == first
    assert Run(4, seed=1).generations != first


def test_search_comes_nearer_to_the_front_than_random_children():
    everything = [dict(zip("abcdef", row, strict=True))
                  for row in itertools.product(CHOICES, repeat=6)]  # fmt: skip
    values = objectives(everything)

    def mean_dominators(samples):
        """How many children of the space dominate a child; 0 on the front."""
        rows = objectives(samples)[:, None]
        return ((values <= rows).all(2) & (values < rows).any(2)).sum(1).mean()

    for seed in range(3):
        later = Run(15, seed=seed, population=20, n_blocks=6).generations[4:]
        mean = mean_dominators(list(itertools.chain(*later)))
        assert mean < 0.6 * mean_dominators(everything)


@pytest.mark.parametrize("bad", [math.nan, -math.inf, math.inf])
def test_children_without_finite_objectives_are_no_parents(bad):
    """They would be the cheapest of all, and so on the front, if they ranked by what is finite."""

    def failing(samples):
        values = objectives(samples)
        values[[sample["block_1"] == 0 for sample in samples]] = [0.0, bad]
        return values

    runs = [Run(4, objectives=failing, seed=seed) for seed in range(4)]
    later = [child for run in runs for children in run.generations[1:] for child in children]
    assert np.mean([child["block_1"] == 0 for child in later]) < 0.2  # a quarter at random
