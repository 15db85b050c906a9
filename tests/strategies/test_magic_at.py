"""MAGIC-AT is the child of MAGIC-T and the loss of MAGIC-A."""

from itertools import pairwise

import pytest
from spaces import ConvSpace
from training import Watch, classification, make, train

from nni_magic.children.samples import distance
from nni_magic.samplers import GradualSampler


def test_walks_like_magic_t_and_aligns_like_magic_a():
    watch = Watch()
    strategy = train(make("magic_at", k=2, walks=1), ConvSpace(), classification(watch))
    sampler = GradualSampler(ConvSpace(), seed=3, k=2)
    assert [child for child, _ in watch.steps] == [sampler.next() for _ in range(18)]
    [term] = strategy.oneshot_module.terms
    assert (term.name, term.weight) == ("alignment_loss", 0.5)


@pytest.mark.parametrize("k", [1, 2])
def test_by_default_every_fourth_step_is_of_one_walk(k):
    watch = Watch()
    train(make("magic_at", k=k), ConvSpace(), classification(watch))
    children = [child for child, _ in watch.steps]
    assert len(children) == 18
    assert {distance(*pair) for pair in zip(children, children[4:], strict=False)} == {k}
    assert {distance(*pair) for pair in pairwise(children)} != {k}
