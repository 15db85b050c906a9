"""Strategies and searches inside a budget of FLOPs, on both ProxylessNAS spaces."""

import numpy as np
import pytest
import torch
from nni.nas.evaluator.pytorch import Classification, DataLoader
from nni.nas.hub.pytorch import ProxylessNAS
from nni.nas.oneshot.pytorch.profiler import RangeProfilerFilter
from nni.nas.profiler.pytorch.flops import FlopsProfiler
from torch.utils.data import TensorDataset
from training import QUIET, Watch, make, train

from nni_magic.children.samples import candidates
from nni_magic.samplers import GradualSampler, UniformSampler
from nni_magic.search import ChildEvaluator, Evolution
from search_spaces import ProxylessNASSpace


def proxyless():
    return ProxylessNASSpace.preset(
        "tiny", resolution=8, candidates=("mb3_3x3", "mb6_5x5", "zero"), stages=((8, 3, 2),)
    )


def hub():
    return ProxylessNAS(10, width_mult=0.25)


def bounded(make_space, shape, quantile):
    """A space, its profiler, and the FLOPs that a share of random children keeps to."""
    space = make_space()
    flops = FlopsProfiler(space, torch.zeros(2, *shape))
    sampler = UniformSampler(space, seed=0)
    costs = [flops.profile(sampler.next()) for _ in range(100)]
    return space, flops, float(np.quantile(costs, quantile))


def evaluator(shape, watch, n=16):
    images = torch.randn(n, *shape, generator=torch.Generator().manual_seed(0))
    data = TensorDataset(images, torch.arange(n) % 10)
    return Classification(
        num_classes=10,
        train_dataloaders=DataLoader(data, batch_size=4, shuffle=True),
        val_dataloaders=DataLoader(data, batch_size=4),
        max_epochs=2,
        callbacks=[watch],
        **QUIET,
    )


def check(name, make_space, shape):
    """Train inside a budget, then search; every child of both keeps to it."""
    space, flops, bound = bounded(make_space, shape, 0.3)
    budget = {"profiler": flops, "max": bound}
    watch = Watch()
    strategy = train(make(name, filter=budget), space, evaluator(shape, watch))
    trained = [child for child, _ in watch.steps]
    assert len(trained) == 8 and len({flops.profile(child) for child in trained}) > 1
    best = [model.sample for model in strategy.list_models(limit=None)]
    scored = Evolution(seed=0, generations=2, population=4, filter=budget).search(
        strategy.supernet, ChildEvaluator(strategy.supernet, evaluator(shape, Watch()))
    )
    panel = strategy._module.validation.panel
    for child in [*trained, *best, *panel, *(child for child, _ in scored)]:
        assert flops.profile(child) <= bound


@pytest.mark.parametrize("name", ["spos", "magic_t", "magic_at"])
def test_training_and_search_keep_to_the_budget(name):
    check(name, proxyless, (1, 8, 8))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["spos", "magic_t", "magic_a", "magic_at"])
def test_training_and_search_of_nnis_space_keep_to_the_budget(name):
    check(name, hub, (3, 64, 64))


@pytest.mark.parametrize(("bound", "message"), [
    ({"max": 10}, "no child is inside the budget: max is 10, but the smallest child has "
                  r"{low:,.0f} and the largest {high:,.0f} by FlopsProfiler"),
    ({"max": 1e12}, "bounds nothing: max is 1,000,000,000,000, but the smallest child has "
                    "{low:,.0f}"),
])  # fmt: skip
def test_budget_outside_the_children_stops_training_at_the_start(bound, message):
    space, flops, _ = bounded(proxyless, (1, 8, 8), 0.5)
    low, high = (
        flops.profile(dict.fromkeys(candidates(space), name) | {"block_1": first})
        for name, first in (("zero", "mb3_3x3"), ("mb6_5x5", "mb6_5x5"))
    )
    watch = Watch()
    with pytest.raises(ValueError, match=message.format(low=low, high=high)):
        train(make("magic_t", filter={"profiler": flops, **bound}), space,
              evaluator((1, 8, 8), watch))  # fmt: skip
    assert watch.steps == []


@pytest.mark.slow
def test_walk_in_nnis_space_reaches_all_depths_and_operators_inside_a_budget():
    space, flops, bound = bounded(hub, (3, 64, 64), 0.5)
    walk = GradualSampler(space, seed=0, filter=RangeProfilerFilter(flops, max=bound))
    unseen = {(label, c) for label, choices in candidates(space).items() for c in choices}
    for _ in range(20_000):
        child = walk.next()
        assert flops.profile(child) <= bound
        unseen -= set(child.items())
        if not unseen:
            return
    assert not unseen
