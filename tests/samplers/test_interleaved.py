"""Interleaved walks; what all samplers promise is tested with the others."""

import itertools
import logging

import pytest
from scipy.stats import chisquare
from spaces import FlatSpace

from nni_magic.children.samples import distance
from nni_magic.samplers import GradualSampler
from nni_magic.samplers.interleaved import InterleavedSampler


def walk(sampler, n):
    return [sampler.next() for _ in range(n)]


@pytest.mark.parametrize("walks", [2, 3, 5])
@pytest.mark.parametrize("k", [1, 2])
def test_every_walk_changes_k_labels(walks, k):
    path = walk(InterleavedSampler(FlatSpace(8, 4), seed=0, k=k, walks=walks), 20 * walks)
    for own in (path[turn::walks] for turn in range(walks)):
        assert [distance(a, b) for a, b in itertools.pairwise(own)] == [k] * 19


def test_walks_are_apart_like_random_samples():
    """Two random samples of 8 labels with 4 choices differ in 6."""
    path = walk(InterleavedSampler(FlatSpace(8, 4), seed=0, walks=2), 4000)
    apart = [distance(a, b) for a, b in itertools.pairwise(path)]
    assert 5.8 < sum(apart) / len(apart) < 6.2


def test_every_walk_starts_from_a_uniform_sample_of_its_own():
    counts = [[0] * 3 for _ in range(2)]
    for seed in range(300):
        for turn, sample in enumerate(
            walk(InterleavedSampler(FlatSpace(1, 3), seed=seed, walks=2), 2)
        ):
            counts[turn][sample["block_1"]] += 1
    assert all(chisquare(count).pvalue > 1e-3 for count in counts)


@pytest.mark.parametrize("settings", [{}, {"k": 2}, {"lazy": True}])
def test_one_walk_is_the_gradual_sampler(settings):
    one = InterleavedSampler(FlatSpace(), seed=5, walks=1, **settings)
    assert walk(one, 50) == walk(GradualSampler(FlatSpace(), seed=5, **settings), 50)


@pytest.mark.parametrize("n", [0, 1, 3, 7])
def test_reset_starts_all_walks_again(n):
    sampler = InterleavedSampler(FlatSpace(4), seed=1, walks=3)
    first = walk(sampler, 9)
    walk(sampler, n)
    sampler.reset(1)
    assert walk(sampler, 9) == first


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_restrict_replaces_what_any_walk_holds_of_the_deleted_and_keeps_the_turn(n, caplog):
    sampler = InterleavedSampler(FlatSpace(6, 4), seed=0, walks=3)
    path = walk(sampler, n)
    with caplog.at_level(logging.INFO, logger="nni_magic.samplers.base"):
        sampler.restrict({"block_1": [0, 1], "block_2": [2]})
    held = [s["block_1"] > 1 or s["block_2"] != 2 for s in path[-3:]]
    assert sampler.reseated == sum(held) > 0
    after = walk(sampler, 6)
    assert all(s["block_1"] <= 1 and s["block_2"] == 2 for s in after)
    untouched = [f"block_{i}" for i in (3, 4, 5, 6)]  # of which a walk's own step changes one
    for old, new in zip(path[-3:], after[3 - len(path[-3:]) : 3], strict=True):
        assert sum(old[label] != new[label] for label in untouched) <= 1


def test_a_walk_that_is_stuck_begins_anew_and_keeps_the_turn():
    sampler = InterleavedSampler(FlatSpace(4, 4), seed=0, walks=2)
    walk(sampler, 2)
    sampler.restrict({f"block_{n}": range(3) for n in (1, 2, 3, 4)})
    stuck, other, reseated = sampler._waiting[0], sampler.current, sampler.reseated
    sampler.filter = lambda sample: distance(sample, stuck) > 1
    assert distance(sampler.next(), stuck) > 1
    assert sampler.reseated == reseated + 1
    assert distance(sampler.next(), other) == 1


def test_state_of_other_walks_is_refused():
    state = InterleavedSampler(FlatSpace(), seed=0, walks=3).state_dict()
    with pytest.raises(ValueError, match="the state is of 3 walks; the sampler has 2"):
        InterleavedSampler(FlatSpace(), seed=0, walks=2).load_state_dict(state)


def test_no_walks_are_refused():
    with pytest.raises(ValueError, match="walks is 0; accepted are whole numbers of at least 1"):
        InterleavedSampler(FlatSpace(), seed=0, walks=0)
