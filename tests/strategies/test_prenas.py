"""PreNAS: the pool that is trained, validated and exported."""

import pytest
import torch
from regressions import Headed, X, Y, fresh, run
from spaces import ConvSpace, set_path
from torch import nn
from training import Watch, classification, make, train
from walks import every, key

from nni_magic.search import ProgressiveShrinking

SMALL = {"scored_children": 200, "pool_share": 0.3, "cost_groups": 3}


def test_pool_is_the_brute_force_best_by_saliency_on_the_first_batch():
    strategy = make("prenas", **SMALL)
    run(strategy, watch := Watch(), Headed)
    sampler = strategy.oneshot_module.sampler
    net, scores = fresh(Headed)[0], {}
    for child in every(sampler.candidates):
        set_path(net, child)
        net.zero_grad()
        nn.functional.mse_loss(net(X[:4]), Y[:4]).backward()
        own = [(p * p.grad).abs().sum() for p in net.parameters() if p.grad is not None]
        scores[key(child)] = sum(own).item()
    expected = set()
    for group, size in ((0, 2), (1, 2), (2, 2)):  # 5, 6 and 5 of the 16 children
        members = [c for c in every(sampler.candidates) if sampler.groups.of(c) == group]
        assert len(members) == {0: 5, 1: 6, 2: 5}[group]
        expected |= set(sorted(map(key, members), key=scores.get)[-size:])
    assert set(map(key, sampler.children)) == expected
    assert all(key(child) in expected for child, _ in watch.steps)


def test_children_that_are_validated_and_exported_are_of_the_pool():
    torch.manual_seed(11)
    strategy = train(make("prenas", scored_children=40), ConvSpace(), classification(Watch()))
    module = strategy.oneshot_module
    pool = list(map(key, module.sampler.children))
    assert len(pool) > 3
    assert all(key(child) in pool for child in module.validation.panel)
    assert all(key(scored.sample) in pool for scored in module.best_children())


def test_shrinking_is_refused():
    with pytest.raises(ValueError, match=r"^shrinking is .*; accepted is None, as PreNAS trains a"):
        make("prenas", shrinking=ProgressiveShrinking(n_drop=1))
