"""Samplers for the tests, and what they propose: by enumeration, and as long runs."""

import itertools
from collections import Counter

import numpy as np
import pytest
from nni.mutable import Categorical

from nni_magic.children.samples import candidates
from nni_magic.samplers import GradualSampler, UniformSampler
from nni_magic.samplers.gradual import reaches_all
from nni_magic.samplers.interleaved import InterleavedSampler

UNEQUAL = {
    label: Categorical(range(n), label=label) for label, n in zip("abcd", (3, 2, 4, 1), strict=True)
}


def flat(n_labels, n_candidates):
    return {label: Categorical(range(n_candidates), label=label) for label in "abcdefgh"[:n_labels]}


class Script:
    """Stands in for numpy's generator and takes the outcomes that it is told to take."""

    def __init__(self, taken):
        self.taken = list(taken)
        self.arities = []

    def _draw(self, n):
        if len(self.arities) == len(self.taken):
            self.taken.append(0)
        self.arities.append(n)
        return self.taken[len(self.arities) - 1]

    def integers(self, high):
        if np.ndim(high):
            return np.array([self._draw(n) for n in high])
        return self._draw(high)

    def choice(self, n, size, replace=True):
        assert not replace
        pool = list(range(n))
        return np.array([pool.pop(self._draw(len(pool))) for _ in range(size)])


def distribution(sampler, current):
    """Exact distribution of a proposal from a sample: all branches of the generator's draws."""
    found = Counter()
    scripts = [[]]
    while scripts:
        done = scripts.pop()
        sampler._rng = script = Script(done)
        sampler.current = None if current is None else dict(current)
        found[key(sampler.propose())] += 1 / np.prod(script.arities)
        for i in range(len(done), len(script.taken)):
            scripts += [[*script.taken[:i], other] for other in range(1, script.arities[i])]
    return found


def key(sample):
    return tuple((label, repr(sample[label])) for label in sorted(sample))


def every(candidates):
    for choices in itertools.product(*candidates.values()):
        yield dict(zip(candidates, choices, strict=True))


def transition_matrix(sampler):
    """``P[i, j]``: chance that the walk goes from the i-th sample of the space to the j-th."""
    states = list(every(sampler.candidates))
    index = {key(state): i for i, state in enumerate(states)}
    matrix = np.zeros((len(states), len(states)))
    for i, state in enumerate(states):
        for proposal, probability in distribution(sampler, state).items():
            matrix[i, index[proposal]] = probability
    np.testing.assert_allclose(matrix.sum(1), 1)
    return states, matrix


def is_even(sample):
    return sum(sample.values()) % 2 == 0


def differing(a, b):
    return {label for label in a if a[label] != b[label]}


def walk(sampler, n):
    return [sampler.next() for _ in range(n)]


def total_variation(p, q):
    return 0.5 * np.abs(p - q).sum(-1)


def two_labels(space, **kwargs):
    """Two labels a step, lazily where the walk would not reach all samples otherwise."""
    sizes = [len(choices) for choices in candidates(space).values() if len(choices) > 1]
    return GradualSampler(space, k=2, lazy=not reaches_all(sizes, 2), **kwargs)


SAMPLERS = [
    pytest.param(lambda space, **kwargs: UniformSampler(space, **kwargs), id="uniform"),
    pytest.param(lambda space, **kwargs: GradualSampler(space, **kwargs), id="walk"),
    pytest.param(two_labels, id="walk-2"),
    pytest.param(lambda space, **kwargs: GradualSampler(space, lazy=True, **kwargs), id="lazy"),
    pytest.param(lambda space, **kwargs: InterleavedSampler(space, walks=3, **kwargs), id="walks"),
]
