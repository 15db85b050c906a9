"""MAGIC-AT is the child of MAGIC-T and the loss of MAGIC-A."""

from spaces import ConvSpace
from training import Watch, classification, make, train

from nni_magic.samplers import GradualSampler


def test_walks_like_magic_t_and_aligns_like_magic_a():
    watch = Watch()
    strategy = train(make("magic_at", k=2), ConvSpace(), classification(watch))
    sampler = GradualSampler(ConvSpace(), seed=3, k=2)
    assert [child for child, _ in watch.steps] == [sampler.next() for _ in range(18)]
    [term] = strategy.oneshot_module.terms
    assert (term.name, term.weight) == ("alignment_loss", 0.5)
