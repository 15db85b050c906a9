"""Path samplers: exact transition matrices by enumeration, and long runs against chi-square."""

import copy
import io
import itertools
import json
import logging
import random
from collections import Counter

import nni
import numpy as np
import pytest
import torch
from nni.mutable import Categorical, MutableList, Numerical
from nni.nas.oneshot.pytorch.profiler import RangeProfilerFilter
from nni.nas.profiler.pytorch.flops import FlopsProfiler, NumParamsProfiler
from scipy.sparse.csgraph import connected_components
from scipy.stats import chi2_contingency, chisquare
from spaces import (
    CellSpace,
    ConstrainedSpace,
    ConvSpace,
    FlatSpace,
    MixedSpace,
    NestedSpace,
    SizedSpace,
    supernet,
)

from nni_magic import samples
from nni_magic.sampling import GradualSampler, Sampler, UniformSampler
from nni_magic.sampling_interleaved import InterleavedSampler

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


def differing(a, b):
    return {label for label in a if a[label] != b[label]}


def walk(sampler, n):
    return [sampler.next() for _ in range(n)]


def total_variation(p, q):
    return 0.5 * np.abs(p - q).sum(-1)


# Uniform sampler


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


# The walk in flat spaces, exactly


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


# The walk in conditional spaces


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


@pytest.mark.parametrize("space", [ConvSpace, MixedSpace, NestedSpace, CellSpace])
@pytest.mark.parametrize("sampler", [UniformSampler, GradualSampler])
def test_samples_belong_to_the_space(space, sampler):
    space = space()
    assert all(space.contains(sample) for sample in walk(sampler(space, seed=0), 30))


def test_distance_ignores_labels_inactive_in_both_samples():
    sampler = UniformSampler(NestedSpace(), seed=0)
    a = {"outer": "plain", "inner": 0, "tail": 0}
    assert sampler.distance(a, {**a, "inner": 1}) == 0
    assert sampler.distance(a, {**a, "inner": 1, "outer": "nested"}) == 2
    assert UniformSampler(NestedSpace().simplify(), seed=0).distance(a, {**a, "inner": 1}) == 1


# Seeds and global generators

SAMPLERS = [
    pytest.param(lambda space, **kwargs: UniformSampler(space, **kwargs), id="uniform"),
    pytest.param(lambda space, **kwargs: GradualSampler(space, **kwargs), id="walk"),
    pytest.param(lambda space, **kwargs: GradualSampler(space, k=2, **kwargs), id="walk-2"),
    pytest.param(lambda space, **kwargs: GradualSampler(space, lazy=True, **kwargs), id="lazy"),
    pytest.param(lambda space, **kwargs: InterleavedSampler(space, walks=3, **kwargs), id="walks"),
]


@pytest.mark.parametrize("make", SAMPLERS)
def test_same_seed_same_samples_whatever_the_global_seeds(make):
    paths = []
    for seed in (1, 2):
        np.random.seed(seed)
        torch.manual_seed(seed)
        random.seed(seed)
        paths.append(walk(make(MixedSpace(), seed=7), 25))
    assert paths[0] == paths[1]
    assert walk(make(MixedSpace(), seed=8), 25) != paths[0]
    assert walk(make(MixedSpace(), seed=[7, 1]), 25) != paths[0]


@pytest.mark.parametrize("make", SAMPLERS)
def test_sampling_leaves_global_generators_alone(make):
    before = np.random.get_state()[1].tolist(), torch.get_rng_state().tolist(), random.getstate()
    sampler = make(MixedSpace(), seed=7)
    before_walk = (
        np.random.get_state()[1].tolist(), torch.get_rng_state().tolist(), random.getstate()
    )  # fmt: skip
    walk(sampler, 5)
    sampler.restrict({"kernel": [1]})
    after = np.random.get_state()[1].tolist(), torch.get_rng_state().tolist(), random.getstate()
    assert after == before_walk
    assert (before[0], before[2]) == (after[0], after[2])  # torch's initialised the space


@pytest.mark.parametrize("make", SAMPLERS)
def test_reset_starts_again(make):
    sampler = make(FlatSpace(), seed=7)
    path = walk(sampler, 10)
    sampler.reset(7)
    assert sampler.current is None
    assert walk(sampler, 10) == path


@pytest.mark.parametrize("make", SAMPLERS)
def test_next_gives_a_copy(make):
    sampler = make(FlatSpace(), seed=7)
    given = sampler.next()
    expected = dict(given)
    given.clear()
    assert sampler.current == expected


# State


def through_torch(state):
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


def through_json(state):
    return json.loads(json.dumps(state))


@pytest.mark.parametrize("carry", [copy.deepcopy, through_torch, through_json])
@pytest.mark.parametrize("make", SAMPLERS)
@pytest.mark.parametrize("space", [FlatSpace, MixedSpace, CellSpace])
def test_state_continues_the_walk_where_it_was_taken(make, carry, space):
    sampler = make(space(), seed=9)
    walk(sampler, 7)
    label = list(sampler.candidates)[-1]
    sampler.restrict({label: sampler.candidates[label][:2]})
    state = carry(sampler.state_dict())
    expected = walk(sampler, 15)
    other = make(space(), seed=0)
    other.load_state_dict(state)
    assert walk(other, 15) == expected
    assert other.candidates == sampler.candidates


def test_state_is_taken_and_not_shared():
    sampler = GradualSampler(FlatSpace(), seed=9)
    walk(sampler, 3)
    state = sampler.state_dict()
    kept = copy.deepcopy(state)
    walk(sampler, 3)
    sampler.restrict({"block_1": [0]})
    assert state == kept


def test_state_of_a_fresh_sampler_has_no_current():
    sampler = GradualSampler(FlatSpace(), seed=9)
    other = GradualSampler(FlatSpace(), seed=1)
    walk(other, 2)
    other.load_state_dict(sampler.state_dict())
    assert other.current is None
    assert walk(other, 5) == walk(sampler, 5)


def test_state_keeps_the_count_of_reseats():
    sampler = GradualSampler(FlatSpace(), seed=9)
    gone = sampler.next()["block_1"]
    sampler.restrict({"block_1": [choice for choice in range(3) if choice != gone]})
    other = GradualSampler(FlatSpace(), seed=9)
    other.load_state_dict(sampler.state_dict())
    assert other.reseated == 1


def test_state_of_another_space_raises():
    state = GradualSampler(FlatSpace(3), seed=0).state_dict()
    with pytest.raises(ValueError, match=r"another model space.*\['block_4'\]"):
        GradualSampler(FlatSpace(4), seed=0).load_state_dict(state)


# Constraints


def is_even(sample):
    return sum(sample.values()) % 2 == 0


def is_small(sample):
    return sum(sample.values()) <= 2


@pytest.mark.parametrize("make", SAMPLERS)
def test_filter_holds_for_every_sample(make):
    sampler = make(FlatSpace(), seed=0, filter=is_small)
    path = walk(sampler, 200)
    assert all(map(is_small, path))
    assert len(set(map(key, path))) == 10


def test_filter_makes_the_walk_propose_another_neighbour():
    sampler = GradualSampler(flat(3, 3), seed=6, filter=is_small)
    current = {"a": 0, "b": 1, "c": 0}
    counts = Counter()
    for _ in range(1000):
        sampler.current = dict(current)
        counts[key(sampler.next())] += 1
    neighbours = [s for s in every(sampler.candidates) if len(differing(s, current)) == 1]
    assert set(counts) == {key(sample) for sample in neighbours if is_small(sample)}
    assert chisquare(list(counts.values())).pvalue > 1e-3


@pytest.mark.parametrize("make", SAMPLERS)
def test_filter_that_allows_nothing_raises(make):
    class Impossible:
        asked = 0

        def __call__(self, sample):
            self.asked += 1
            return False

        def __repr__(self):
            return "Impossible()"

    impossible = Impossible()
    sampler = make(FlatSpace(), seed=0, filter=impossible)
    with pytest.raises(
        RuntimeError,
        match=r"no valid sample in 1000 tries from scratch: filter Impossible\(\).*'block_1'",
    ):
        sampler.next()
    assert impossible.asked == sampler.tries == 1000
    assert sampler.current is None


def test_filter_that_allows_no_neighbour_raises_and_names_the_sample():
    sampler = GradualSampler(flat(2, 2), seed=0, filter=is_even)
    current = sampler.next()
    sampler.tries = 37
    with pytest.raises(
        RuntimeError, match=f"in 37 tries from the sample {current}: filter <function is_even"
    ):
        sampler.next()
    assert sampler.current == current


@pytest.mark.parametrize("make", SAMPLERS)
@pytest.mark.parametrize("convert", [lambda space: space, supernet], ids=["space", "supernet"])
def test_constraint_in_the_space_is_kept(make, convert):
    sampler = make(convert(ConstrainedSpace()), seed=0)
    path = walk(sampler, 200)
    assert all(sample["block_1"] != sample["block_2"] for sample in path)
    assert len(set(map(key, path))) == 18
    assert set(path[0]) == {"block_1", "block_2", "block_3"}  # the constraint is no label


def test_constraint_in_the_simplified_space_is_kept():
    sampler = UniformSampler(ConstrainedSpace().simplify(), seed=0)
    assert all(sample["block_1"] != sample["block_2"] for sample in walk(sampler, 50))


@pytest.mark.parametrize("make", SAMPLERS)
def test_nnis_parameter_filter_bounds_the_children(make):
    space = SizedSpace(n_blocks=4)
    bounded = RangeProfilerFilter(NumParamsProfiler(space, torch.zeros(1, 4)), min=40, max=60)
    sampler = make(space, seed=0, filter=bounded)
    sizes = Counter()
    for sample in walk(sampler, 60):
        child = space.freeze(sample)
        sizes[sum(p.numel() for p in child.parameters())] += 1
    assert set(sizes) <= {40, 60}
    if isinstance(sampler, UniformSampler):
        assert set(sizes) == {40, 60}


def test_nnis_flops_filter_bounds_the_children_of_the_supernet():
    space = ConvSpace()
    profiler = FlopsProfiler(space, torch.zeros(1, 1, 8, 8))
    one_conv3 = {**dict.fromkeys(space.simplify(), "skip"), "block_2": "conv3"}
    bound = profiler.profile(one_conv3) + 1
    sampler = GradualSampler(
        supernet(space), seed=0, filter=RangeProfilerFilter(profiler, max=bound)
    )
    path = walk(sampler, 80)
    heavy = [sum(op in ("conv3", "drop") for op in sample.values()) for sample in path]
    assert all(profiler.profile(sample) <= bound for sample in path)
    assert set(heavy) == {0, 1}
    assert {op for sample in path for op in sample.values()} == set(ConvSpace.CANDIDATES)


# Restriction, as progressive shrinking does it


@pytest.mark.parametrize("make", SAMPLERS)
def test_restrict_deleted_candidates_are_never_proposed(make):
    sampler = make(FlatSpace(3, 4), seed=0)
    walk(sampler, 5)
    sampler.restrict({"block_1": [1, 3], "block_3": [2]})
    path = walk(sampler, 80)
    assert {sample["block_1"] for sample in path} == {1, 3}
    assert {sample["block_2"] for sample in path} == {0, 1, 2, 3}
    assert {sample["block_3"] for sample in path} == {2}


def test_restrict_twice_leaves_what_both_allow():
    sampler = UniformSampler(FlatSpace(2, 4), seed=0)
    sampler.restrict({"block_1": {0, 1, 2}})
    sampler.restrict({"block_1": {3, 2, 1}})
    assert sampler.candidates == {"block_1": [1, 2], "block_2": [0, 1, 2, 3]}


def test_restrict_inputs_of_an_input_choice():
    sampler = UniformSampler(MixedSpace(n_chosen=2), seed=0)
    sampler.restrict({"inputs": [[0, 2], [1, 2]]})
    assert {tuple(sample["inputs"]) for sample in walk(sampler, 30)} == {(0, 2), (1, 2)}


@pytest.mark.parametrize("make", SAMPLERS)
def test_restrict_replaces_the_current_sample_at_once(make, caplog):
    sampler = make(FlatSpace(3, 4), seed=0)
    current = sampler.next()
    left = [choice for choice in range(4) if choice != current["block_2"]]
    with caplog.at_level(logging.INFO, logger="nni_magic.sampling"):
        sampler.restrict({"block_2": left, "block_3": [current["block_3"]]})
    assert sampler.current["block_2"] in left
    assert differing(sampler.current, current) == {"block_2"}
    assert sampler.reseated == 1
    assert "['block_2']" in caplog.text


@pytest.mark.parametrize("make", SAMPLERS)
def test_restrict_that_spares_the_current_sample_keeps_it(make):
    sampler = make(FlatSpace(3, 4), seed=0)
    current = sampler.next()
    sampler.restrict({label: [choice] for label, choice in current.items()})
    assert sampler.current == current
    assert sampler.reseated == 0


def test_restrict_draws_the_replacement_uniformly_from_what_is_left():
    sampler = GradualSampler(FlatSpace(1, 4), seed=0)
    counts = Counter()
    for seed in range(300):
        sampler = GradualSampler(flat(1, 4), seed=seed)
        sampler.current = {"a": 0}
        sampler.restrict({"a": [1, 2, 3]})
        counts[sampler.current["a"]] += 1
    assert set(counts) == {1, 2, 3}
    assert chisquare(list(counts.values())).pvalue > 1e-3


def test_restrict_replacement_meets_the_filter():
    for seed in range(20):
        sampler = GradualSampler(flat(2, 4), seed=seed, filter=is_even)
        sampler.current = {"a": 0, "b": 2}
        sampler.restrict({"a": [1, 2, 3]})
        assert sampler.current == {"a": 2, "b": 2}


def test_restrict_without_a_valid_replacement_raises():
    sampler = GradualSampler(flat(2, 4), seed=0, filter=is_even)
    sampler.current = {"a": 0, "b": 2}
    with pytest.raises(RuntimeError, match=r"deleting candidates of \['a'\].*1000 tries.*is_even"):
        sampler.restrict({"a": [1, 3], "b": [2]})


def test_restrict_draws_all_labels_where_no_replacement_is_near():
    sampler = GradualSampler(flat(2, 4), seed=0, filter=is_even)
    sampler.current = {"a": 0, "b": 2}
    sampler.restrict({"a": [1, 3]})
    assert sampler.current["a"] in (1, 3) and sampler.current["b"] in (1, 3)
    assert sampler.reseated == 1


def test_restrict_before_the_first_sample_replaces_nothing():
    sampler = GradualSampler(FlatSpace(), seed=0)
    sampler.restrict({"block_1": [2]})
    assert sampler.current is None
    assert sampler.reseated == 0
    assert sampler.next()["block_1"] == 2


@pytest.mark.parametrize("left", [[], [7]])
def test_restrict_last_candidate_raises_and_changes_nothing(left):
    sampler = UniformSampler(FlatSpace(), seed=0)
    before = dict(sampler.candidates)
    with pytest.raises(ValueError, match="'block_2' would lose its last candidate"):
        sampler.restrict({"block_1": [0], "block_2": left})
    assert sampler.candidates == before


def test_restrict_unknown_label_raises():
    with pytest.raises(ValueError, match=r"unknown label 'block_9'; the labels are \['block_1'"):
        UniformSampler(FlatSpace(), seed=0).restrict({"block_9": [0]})


def test_restrict_leaving_fewer_labels_than_k_changes_all_that_are_left():
    sampler = GradualSampler(FlatSpace(3, 3), seed=0, k=3)
    sampler.next()
    sampler.restrict({"block_1": [0]})
    assert {len(differing(a, b)) for a, b in itertools.pairwise(walk(sampler, 20))} == {2}


@pytest.mark.parametrize("make", SAMPLERS)
def test_restrict_to_one_child_stays_there(make):
    sampler = make(MixedSpace(), seed=0)
    child = sampler.next()
    sampler.restrict({label: [choice] for label, choice in child.items()})
    assert walk(sampler, 5) == [child] * 5


# Errors


@pytest.mark.parametrize("k", [0, -1, 4])
def test_walk_k_out_of_range_raises(k):
    with pytest.raises(ValueError, match=f"k is {k}, but it must be from 1 to 3"):
        GradualSampler(FlatSpace(3), seed=0, k=k)


def test_walk_k_counts_labels_that_can_change():
    space = {name: nni.choice(name, values) for name, values in
             (("a", [1, 2]), ("b", [1, 2, 3]), ("c", [1]))}  # fmt: skip
    path = walk(GradualSampler(space, seed=0, k=2), 20)
    assert {len(differing(a, b)) for a, b in itertools.pairwise(path)} == {2}
    with pytest.raises(ValueError, match="k is 3, but it must be from 1 to 2"):
        GradualSampler(space, seed=0, k=3)
    GradualSampler(space, seed=0, k=3, lazy=True)


@pytest.mark.parametrize("sampler", [UniformSampler, GradualSampler])
def test_space_without_choices_raises(sampler):
    with pytest.raises(ValueError, match="FlatSpace has no choices"):
        sampler(FlatSpace(n_blocks=0), seed=0)


@pytest.mark.parametrize("sampler", [UniformSampler, GradualSampler])
def test_numerical_label_raises(sampler):
    with pytest.raises(TypeError, match="'lr' is a Numerical"):
        sampler(MutableList([Numerical(0, 1, label="lr")]), seed=0)


def test_sampler_of_another_method_only_proposes():
    class First(Sampler):
        def propose(self):
            return {label: choices[0] for label, choices in self.candidates.items()}

    sampler = First(FlatSpace(2, 3), seed=0)
    assert sampler.next() == {"block_1": 0, "block_2": 0}
    sampler.restrict({"block_1": [1, 2]})
    assert sampler.next() == {"block_1": 1, "block_2": 0}


def test_walk_begins_anew_where_deletions_left_no_way_on(caplog):
    """Of a space of 2 x 2 the filter allows two opposite corners, and no neighbour of either."""
    space = {name: Categorical([0, 1, 2], label=name) for name in ("a", "b")}
    sampler = GradualSampler(
        space, seed=0, filter=lambda sample: 2 in sample.values() or sample["a"] == sample["b"]
    )
    sampler.tries = 50
    for _ in range(5):
        sampler.next()
    sampler.restrict({"a": [0, 1], "b": [0, 1]})
    before = sampler.reseated
    with caplog.at_level("INFO", "nni_magic.sampling"):
        seen = {(sample["a"], sample["b"]) for sample in (sampler.next() for _ in range(20))}
    assert seen == {(0, 0), (1, 1)}
    assert sampler.reseated == before + 20
    assert "begun anew" in caplog.text


def test_walk_with_no_way_on_in_a_whole_space_is_an_error():
    space = {name: Categorical([0, 1], label=name) for name in ("a", "b")}
    sampler = GradualSampler(space, seed=0, filter=lambda sample: sample["a"] == sample["b"])
    sampler.next()
    with pytest.raises(RuntimeError, match="no valid sample in 1000 tries from the sample"):
        sampler.next()
