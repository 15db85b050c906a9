"""The uniform sampler: its exact distribution by enumeration, and draws against chi-square."""

import itertools
from collections import Counter

import numpy as np
from scipy.stats import chi2_contingency, chisquare
from walks import (
    UNEQUAL,
    distribution,
    every,
    flat,
    key,
    walk,
)

from nni_magic.samplers import UniformSampler


def test_uniform_proposal_is_exactly_uniform_whatever_the_last_sample():
    sampler = UniformSampler(UNEQUAL, seed=0)
    for current in [None, {"a": 2, "b": 1, "c": 3, "d": 0}]:
        found = distribution(sampler, current)
        assert found.keys() == {key(sample) for sample in every(sampler.candidates)}
        np.testing.assert_allclose(list(found.values()), 1 / 24)


def test_uniform_draws_are_uniform_and_independent():
    sampler = UniformSampler(UNEQUAL, seed=1)
    drawn = walk(sampler, 4000)
    for label in "abc":
        counts = Counter(sample[label] for sample in drawn)
        assert chisquare([counts[choice] for choice in sampler.candidates[label]]).pvalue > 1e-3
    pairs = [(a["a"], b["c"]) for a, b in itertools.pairwise(drawn)]  # of successive draws
    pairs2 = [(sample["a"], sample["c"]) for sample in drawn]
    for observed in (pairs, pairs2):
        table = np.zeros((3, 4))
        np.add.at(table, tuple(zip(*observed, strict=True)), 1)
        assert chi2_contingency(table).pvalue > 1e-3


def test_uniform_adjacent_samples_differ_in_the_expected_number_of_labels():
    n_labels, n_candidates, n = 8, 4, 3000
    sampler = UniformSampler(flat(n_labels, n_candidates), seed=2)
    distances = [sampler.distance(a, b) for a, b in itertools.pairwise(walk(sampler, n))]
    expected = n_labels * (n_candidates - 1) / n_candidates
    deviation = (n_labels * (n_candidates - 1) / n_candidates**2 / n) ** 0.5
    assert abs(np.mean(distances) - expected) < 4 * deviation
