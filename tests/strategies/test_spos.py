"""SPOS draws every block anew at every step."""

import itertools

from spaces import ConvSpace
from training import Watch, classification, make, train

from nni_magic.children.samples import distance
from nni_magic.samplers import UniformSampler


def test_trains_the_children_of_a_uniform_sampler():
    watch = Watch()
    strategy = train(make("spos"), ConvSpace(), classification(watch, epochs=4))
    sampler = UniformSampler(ConvSpace(), seed=3)
    children = [child for child, _ in watch.steps]
    assert children == [sampler.next() for _ in range(24)]
    assert max(distance(a, b) for a, b in itertools.pairwise(children)) > 2
    assert strategy.oneshot_module.terms == []
