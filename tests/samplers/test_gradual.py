"""The gradual walk: exact transition matrices by enumeration, and long runs."""

import itertools
from collections import Counter

import nni
import numpy as np
import pytest
from scipy.sparse.csgraph import connected_components
from scipy.stats import chisquare
from spaces import FlatSpace, MixedSpace, NestedSpace, supernet
from walks import (
    UNEQUAL,
    differing,
    distribution,
    every,
    flat,
    key,
    total_variation,
    transition_matrix,
    walk,
)

from nni_magic.children import samples
from nni_magic.samplers import GradualSampler
from nni_magic.samplers.gradual import reaches_all

# In flat spaces, exactly


@pytest.mark.parametrize("lazy", [False, True], ids=["walk", "lazy"])
@pytest.mark.parametrize("k", [1, 2, 3])
def test_walk_has_the_uniform_distribution_as_stationary(k, lazy):
    _, matrix = transition_matrix(GradualSampler(UNEQUAL, seed=0, k=k, lazy=lazy))
    np.testing.assert_allclose(matrix.sum(0), 1)  # uniform @ matrix == uniform
    if not (k == 3 and not lazy):  # label b has two choices and would alternate
        assert connected_components(matrix, connection="strong")[0] == 1


@pytest.mark.parametrize("k", [1, 2, 3])
def test_walk_step_is_uniform_over_label_sets_and_other_choices(k):
    sampler = GradualSampler(UNEQUAL, seed=0, k=k)
    current = {"a": 1, "b": 0, "c": 2, "d": 0}
    sizes = {"a": 3, "b": 2, "c": 4}
    label_sets = list(itertools.combinations(sizes, k))
    found = distribution(sampler, current)
    for sample in every(sampler.candidates):
        changed = tuple(sorted(differing(sample, current)))
        expected = 0
        if changed in label_sets:
            expected = 1 / len(label_sets) / np.prod([sizes[label] - 1 for label in changed])
        assert found[key(sample)] == pytest.approx(expected)


def test_lazy_walk_step_redraws_a_label_from_all_its_choices():
    sampler = GradualSampler(flat(3, 3), seed=0, lazy=True)
    current = {"a": 0, "b": 1, "c": 2}
    found = distribution(sampler, current)
    assert found.pop(key(current)) == pytest.approx(1 / 3)
    assert len(found) == 6
    np.testing.assert_allclose(list(found.values()), 1 / 9)


@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize("lazy", [False, True], ids=["walk", "lazy"])
def test_walk_starts_from_a_uniform_sample(k, lazy):
    found = distribution(GradualSampler(UNEQUAL, seed=0, k=k, lazy=lazy), None)
    assert len(found) == 24
    np.testing.assert_allclose(list(found.values()), 1 / 24)


@pytest.mark.parametrize("n_labels, n_candidates", [(2, 4), (3, 3), (5, 2)])
def test_lazy_walk_mixes_within_the_bound(n_labels, n_candidates):
    sampler = GradualSampler(flat(n_labels, n_candidates), seed=0, lazy=True)
    states, matrix = transition_matrix(sampler)
    uniform = np.full(len(states), 1 / len(states))
    reached = np.eye(len(states))
    informative = 0
    for t in range(1, 8 * n_labels):
        reached = reached @ matrix
        bound = n_labels * np.exp(-t / n_labels)
        assert total_variation(reached, uniform).max() <= bound
        informative += bound < 0.1
    assert informative > 5  # times at which the bound says something


def test_walk_on_two_candidates_has_period_two():
    states, matrix = transition_matrix(GradualSampler(flat(3, 2), seed=0))
    parity = np.array([sum(state.values()) % 2 for state in states])
    for t in range(1, 6):
        reached = np.linalg.matrix_power(matrix, t)
        same_half = parity[:, None] == parity[None, :]
        assert (reached[same_half] > 0).any() == (t % 2 == 0)
        assert (reached[~same_half] > 0).any() == (t % 2 == 1)
    assert np.isclose(np.linalg.eigvalsh(matrix), -1).sum() == 1


@pytest.mark.parametrize("k", [1, 2])
def test_lazy_walk_on_two_candidates_converges(k):
    states, matrix = transition_matrix(GradualSampler(flat(3, 2), seed=0, k=k, lazy=True))
    moduli = np.sort(np.abs(np.linalg.eigvalsh(matrix)))
    assert moduli[-1] == pytest.approx(1)
    assert moduli[-2] < 1 - 1e-6
    reached = np.linalg.matrix_power(matrix, 200)
    np.testing.assert_allclose(reached, 1 / len(states))


def test_long_walk_visits_all_samples_equally_often():
    sampler = GradualSampler(flat(2, 3), seed=4)
    thinned = walk(sampler, 9 * 20 * 20)[::20]  # far apart enough to count as independent
    counts = Counter(map(key, thinned))
    assert chisquare([counts[key(sample)] for sample in every(sampler.candidates)]).pvalue > 1e-3


@pytest.mark.parametrize("k", [1, 2, 3])
def test_walk_changes_exactly_k_labels(k):
    path = walk(GradualSampler(FlatSpace(4, 3), seed=1, k=k), 100)
    assert {len(differing(a, b)) for a, b in itertools.pairwise(path)} == {k}


def test_lazy_walk_changes_at_most_k_labels_and_sometimes_none():
    path = walk(GradualSampler(FlatSpace(4, 3), seed=1, k=2, lazy=True), 200)
    assert {len(differing(a, b)) for a, b in itertools.pairwise(path)} == {0, 1, 2}


# In conditional spaces


@pytest.mark.parametrize("space", [NestedSpace, MixedSpace])
def test_walk_visits_conditional_samples_in_proportion_to_their_active_labels(space):
    space = space()
    states, matrix = transition_matrix(GradualSampler(space, seed=0))
    n_active = np.array([len(samples.active_labels(space, state)) for state in states])
    assert len(set(n_active)) > 1
    stationary = n_active / n_active.sum()
    np.testing.assert_allclose(stationary @ matrix, stationary, atol=1e-12)
    assert connected_components(matrix, connection="strong")[0] == 1  # so there is no other


@pytest.mark.parametrize("k", [1, 2])
def test_lazy_walk_is_uniform_over_conditional_samples(k):
    states, matrix = transition_matrix(GradualSampler(NestedSpace(), seed=0, k=k, lazy=True))
    uniform = np.full(len(states), 1 / len(states))
    np.testing.assert_allclose(uniform @ matrix, uniform)
    assert connected_components(matrix, connection="strong")[0] == 1


@pytest.mark.parametrize("convert", [lambda space: space, supernet], ids=["space", "supernet"])
@pytest.mark.parametrize("k", [1, 2])
def test_walk_changes_k_active_labels_and_no_inactive_one(k, convert):
    sampler = GradualSampler(convert(MixedSpace(n_chosen=2)), seed=3, k=k)
    for a, b in itertools.pairwise(walk(sampler, 150)):
        changed = differing(a, b)
        assert len(changed) == k
        assert changed <= {"depth", "kernel", "inputs", *(f"op_{n + 1}" for n in range(a["depth"]))}
        assert sampler.distance(a, b) == k


def test_walk_is_the_same_on_the_space_and_on_its_simplified_form_if_nothing_is_conditional():
    space = FlatSpace(4, 3)
    assert walk(GradualSampler(space, seed=5), 20) == walk(
        GradualSampler(space.simplify(), seed=5), 20
    )


def test_walk_with_fewer_active_labels_than_k_changes_all_of_them():
    sampler = GradualSampler(NestedSpace(), seed=0, k=3)
    changes = Counter()
    for a, b in itertools.pairwise(walk(sampler, 60)):
        changes[a["outer"], len(differing(a, b))] += 1
    assert set(changes) == {("plain", 2), ("nested", 3)}


# Errors


@pytest.mark.parametrize("k", [0, -1, 4, 1.5, 1.0, True, None, "1"])
def test_walk_k_out_of_range_raises(k):
    with pytest.raises(ValueError, match=f"k is {k!r}; accepted are whole numbers from 1 to 3"):
        GradualSampler(FlatSpace(3), seed=0, k=k)


@pytest.mark.parametrize("lazy", [0, 1, None, "yes"])
def test_walk_is_lazy_or_not(lazy):
    with pytest.raises(ValueError, match=f"lazy is {lazy!r}; accepted are true and false"):
        GradualSampler(FlatSpace(3), seed=0, lazy=lazy)


def space_of(sizes):
    return {
        label: nni.choice(label, list(range(n))) for label, n in zip("abcd", sizes, strict=False)
    }


SIZES = [
    sizes for n in range(1, 5) for sizes in itertools.combinations_with_replacement((2, 3, 4), n)
    if np.prod(sizes) <= 40
]  # fmt: skip


def reached(sampler):
    """Whether the walk that a sampler proposes leads from any sample to any other."""
    _, matrix = transition_matrix(sampler)
    return connected_components(matrix, connection="strong")[0] == 1


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_k_is_refused_exactly_where_the_walk_does_not_reach_all_samples(sizes, monkeypatch):
    for k in range(1, len(sizes) + 1):
        with monkeypatch.context() as unchecked:
            unchecked.setattr("nni_magic.samplers.gradual.reaches_all", lambda sizes, k: True)
            expected = reached(GradualSampler(space_of(sizes), seed=0, k=k))
        assert reaches_all(sizes, k) == expected
        if expected:
            GradualSampler(space_of(sizes), seed=0, k=k)
        else:
            with pytest.raises(ValueError, match=f"^k is {k}; accepted are .*lazy=True"):
                GradualSampler(space_of(sizes), seed=0, k=k)


@pytest.mark.parametrize("sizes", [(2, 2), (2, 2, 2), (2, 2, 3)], ids=str)
def test_lazy_walk_reaches_all_samples_with_every_k(sizes):
    assert all(
        reached(GradualSampler(space_of(sizes), seed=0, k=k, lazy=True))
        for k in range(1, len(sizes) + 1)
    )


@pytest.mark.parametrize(("sizes", "k", "message"), [
    ((2, 2, 2), 2, "k is 2; accepted are odd numbers below 3, and with lazy=True all: all labels "
     "have two candidates, and a walk that changes an even number of them never reaches half"),
    ((2, 2, 2), 3, "k is 3; accepted are odd numbers below 3, and with lazy=True all: all labels "
     "have two candidates, and a walk that changes all labels changes these together"),
    ((2, 2, 3), 3, "k is 3; accepted are 1 to 2, and with lazy=True all: several labels have two "
     "candidates, and a walk that changes all labels changes these together"),
])  # fmt: skip
def test_refused_k_tells_the_reason(sizes, k, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        GradualSampler(space_of(sizes), seed=0, k=k)


def test_k_of_a_conditional_space_is_not_refused():
    GradualSampler(NestedSpace(), seed=0, k=2)


def test_walk_k_counts_labels_that_can_change():
    space = {name: nni.choice(name, values) for name, values in
             (("a", [1, 2]), ("b", [1, 2, 3]), ("c", [1]))}  # fmt: skip
    path = walk(GradualSampler(space, seed=0, k=2), 20)
    assert {len(differing(a, b)) for a, b in itertools.pairwise(path)} == {2}
    with pytest.raises(ValueError, match="k is 3; accepted are whole numbers from 1 to 2"):
        GradualSampler(space, seed=0, k=3)
    GradualSampler(space, seed=0, k=3, lazy=True)
