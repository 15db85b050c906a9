"""MAGIC-T changes k operators from step to step."""

import itertools

import pytest
from spaces import ConvSpace, SizedSpace
from training import Watch, classification, make, train

from nni_magic.children.samples import distance
from nni_magic.samplers.interleaved import InterleavedSampler


def distances(**settings):
    watch = Watch()
    train(make("magic_t", **settings), ConvSpace(), classification(watch, epochs=4))
    children = [child for child, _ in watch.steps]
    return watch, [distance(a, b) for a, b in itertools.pairwise(children)]


@pytest.mark.parametrize("k", [1, 2, 4])
def test_adjacent_children_differ_in_k_operators(k):
    watch, apart = distances(k=k)
    assert apart == [k] * 23
    assert watch.validations[-1]["supernet/distance"] == k


def test_lazy_walk_also_stays():
    assert set(distances(lazy=True)[1]) == {0, 1}


def test_walks_take_turns():
    watch = Watch()
    strategy = train(make("magic_t", walks=3, k=2), ConvSpace(), classification(watch, epochs=4))
    sampler = InterleavedSampler(ConvSpace(), seed=3, k=2, walks=3)
    children = [child for child, _ in watch.steps]
    assert children == [sampler.next() for _ in range(24)]
    assert strategy.oneshot_module.method == "MagicT with InterleavedSampler"


@pytest.mark.parametrize("walks", [0, 1.5, True])
def test_walks_out_of_range(walks):
    with pytest.raises(ValueError, match=f"walks is {walks}; accepted are whole numbers of at lea"):
        make("magic_t", walks=walks)


@pytest.mark.parametrize("k", [0, -1, 1.5, True])
def test_k_out_of_range(k):
    with pytest.raises(ValueError, match=f"k is {k}; accepted are whole numbers of at least 1"):
        make("magic_t", k=k)


def test_k_beyond_the_space_fails_at_start():
    with pytest.raises(ValueError, match="k is 5; accepted are whole numbers from 1 to 4"):
        train(make("magic_t", k=5), ConvSpace(), classification(Watch()))


@pytest.mark.parametrize("name", ["magic_t", "magic_at"])
@pytest.mark.parametrize("walks", [1, 2])
def test_k_with_which_half_of_the_children_are_never_trained_fails_at_start(name, walks):
    watch = Watch()
    message = "k is 2; accepted are odd numbers below 4, and with lazy=True all"
    with pytest.raises(ValueError, match=message):
        train(make(name, k=2, walks=walks), SizedSpace(), classification(watch))
    assert watch.steps == []
