"""The sampler's permutations and the loader's place in an epoch."""

import pytest
import torch
from torch.utils.data import TensorDataset

from experiments.loading import EpochSampler, ResumableLoader


def loader(n=20, batch_size=3, seed=0, **kwargs):
    data = TensorDataset(torch.arange(n))
    return ResumableLoader(
        data, batch_size=batch_size, sampler=EpochSampler(n, seed), drop_last=True, **kwargs
    )


def passes(batches):
    return [batch[0].tolist() for batch in batches]


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


def test_neither_sampler_nor_loader_touches_the_global_generator():
    state = torch.get_rng_state()
    passes(loader())
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((0, 0), "n_items must be at least 1, got 0"), ((5, -1), "seed must not be negative, got -1")],
)
def test_sampler_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        EpochSampler(*arguments)


def test_loader_gives_the_batches_of_its_sampler():
    batches = loader()
    order = list(batches.sampler)
    assert passes(batches) == [order[i : i + 3] for i in range(0, 18, 3)]
    assert len(batches) == 6


def test_epoch_is_read_at_the_first_batch():
    batches = loader()
    iterator = iter(batches)
    batches.sampler.set_epoch(3)
    assert next(iterator)[0].tolist() == list(batches.sampler)[:3]


@pytest.mark.parametrize("workers", [0, 1])
def test_loader_continues_in_the_middle(workers):
    reference = loader(num_workers=workers)
    reference.sampler.set_epoch(2)
    expected = passes(reference)
    stopped = loader()
    stopped.sampler.set_epoch(2)
    iterator = iter(stopped)
    for _ in range(4):
        next(iterator)
    state = stopped.state_dict()
    assert state == {"epoch": 2, "batches": 4}

    resumed = loader(num_workers=workers)
    resumed.load_state_dict(state)
    resumed.sampler.set_epoch(2)
    assert passes(resumed) == expected[4:]
    assert resumed.state_dict() == {"epoch": 2, "batches": 6}
    assert passes(resumed) == expected  # only the first pass is short


def test_state_of_another_epoch_skips_nothing():
    batches = loader()
    batches.load_state_dict({"epoch": 0, "batches": 6})
    batches.sampler.set_epoch(1)
    assert len(passes(batches)) == 6
