"""Samplers under constraints: a user's, NNI's, and those that the space holds."""

from collections import Counter

import pytest
import torch
from nni.nas.oneshot.pytorch.profiler import RangeProfilerFilter
from nni.nas.profiler.pytorch.flops import FlopsProfiler, NumParamsProfiler
from scipy.stats import chisquare
from spaces import ConstrainedSpace, ConvSpace, FlatSpace, SizedSpace, supernet
from walks import SAMPLERS, differing, every, flat, is_even, key, walk

from nni_magic.samplers import GradualSampler, UniformSampler


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
