"""Samplers whose candidates are deleted, as progressive shrinking does it."""

import itertools
import logging
from collections import Counter

import pytest
from nni.mutable import Categorical
from scipy.stats import chisquare
from spaces import FlatSpace, MixedSpace
from walks import SAMPLERS, differing, flat, is_even, walk

from nni_magic.samplers import GradualSampler, UniformSampler


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
    with caplog.at_level(logging.INFO, logger="nni_magic.samplers.base"):
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
    message = rf"allowed\['block_2'\] is \{left}; accepted are .* one at least of \[0, 1, 2\]"
    with pytest.raises(ValueError, match=message):
        sampler.restrict({"block_1": [0], "block_2": left})
    assert sampler.candidates == before


def test_restrict_unknown_label_raises():
    with pytest.raises(ValueError, match="label is 'block_9'; accepted are 'block_1', 'block_2'"):
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
    with caplog.at_level("INFO", "nni_magic.samplers.base"):
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
