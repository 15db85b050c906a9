"""The sampler's permutations."""

import pytest
import torch

from nni_magic.support.epoch_sampler import EpochSampler


def test_every_epoch_has_a_permutation_of_its_own():
    sampler = EpochSampler(50, seed=4)
    orders = []
    for epoch in range(3):
        sampler.set_epoch(epoch)
        orders.append(tuple(sampler))
        assert sorted(orders[-1]) == list(range(50))
        assert tuple(sampler) == orders[-1]
    assert len(set(orders)) == 3
    assert len(sampler) == 50


def test_neighbouring_seeds_share_no_permutation():
    orders = set()
    for seed in range(4):
        for epoch in range(4):
            sampler = EpochSampler(50, seed)
            sampler.set_epoch(epoch)
            orders.add(tuple(sampler))
    assert len(orders) == 16


def test_sampler_leaves_the_global_generator_alone():
    state = torch.get_rng_state()
    list(EpochSampler(50))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 0), "n_items is 0; accepted are whole numbers of at least 1"),
        ((5, -1), "seed is -1; accepted are whole numbers of at least 0"),
    ],
)
def test_sampler_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        EpochSampler(*arguments)
