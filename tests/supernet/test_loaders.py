"""Loaders of all kinds as Lightning's ``CombinedLoader``, read from the first batch on or late."""

import pytest
import torch
from noisy import N, Noisy, loader
from pytorch_lightning import Trainer
from pytorch_lightning.utilities import CombinedLoader
from torch.utils.data import DataLoader, IterableDataset

from nni_magic.supernet.loaders import (
    TRAINING,
    VALIDATION,
    LoadedBatch,
    combined,
    first_batches,
    late,
    limits,
    loaders_of_validation,
)
from nni_magic.supernet.resume import isolated_randomness

MODES = ("min_size", "max_size", "max_size_cycle", "sequential")


class Stream(IterableDataset):
    def __iter__(self):
        return iter(range(6))


def loaders():
    return {"a": DataLoader(range(6), 4), "b": [DataLoader(range(20), 4), range(3)]}


def test_combined_keeps_the_mode_of_what_is_combined_already():
    given = CombinedLoader(loaders(), "min_size")
    assert combined(given, TRAINING) is given
    assert len(combined(loaders(), TRAINING).flattened) == 3


@pytest.mark.parametrize("several", [False, True])
def test_first_batches_of_each_loader_that_is_read_in_turn(several):
    second = [[1, 2, 3]] if several else []
    found = first_batches(combined([DataLoader(range(6), 4), *second], VALIDATION), 2)
    places = [tuple(one[1:]) for one in found]
    assert places == ([(0, 0), (1, 0), (0, 1), (1, 1)] if several else [(0, None), (1, None)])
    assert all(isinstance(one, LoadedBatch) for one in found)
    assert [one.batch for one in found[2:]] == [1, 2] * several


@pytest.mark.parametrize("mode", MODES[:3])
def test_first_batches_of_several_at_once_are_counted_together(mode):
    found = first_batches(CombinedLoader(loaders(), mode), 2)
    assert [tuple(one[1:]) for one in found] == [(0, None), (1, None)]
    assert found[1].batch["a"].tolist() == [4, 5]
    assert found[1].batch["b"][0].tolist() == [4, 5, 6, 7]


def test_first_batches_leave_loaders_and_limits_as_they_were():
    given = combined([loader(shuffle=True), loader(generator=torch.Generator())], VALIDATION)
    given.limits = [1, 5]
    iter(given)
    generator = given.flattened[1].generator
    state = generator.get_state()
    with isolated_randomness():
        first = first_batches(given, 2)
        again = first_batches(given, 2)
    assert all(torch.equal(a.batch, b.batch) for a, b in zip(first, again, strict=True))
    assert torch.equal(generator.get_state(), state)
    assert given.limits == [1, 5]
    assert [one[1:] for one in given] == [(0, 0), *((i, 1) for i in range(5))]


def test_first_batches_of_a_generator_are_refused():
    with pytest.raises(ValueError, match="a loader is a generator, which gives its batches once"):
        first_batches(combined((n for n in range(3)), VALIDATION), 1)


@pytest.mark.parametrize("limits", [None, 2, [1, 2, 3]])
@pytest.mark.parametrize("mode", MODES)
def test_late_loader_gives_what_lightning_gives(mode, limits):
    plain, found = (CombinedLoader(loaders(), mode) for _ in range(2))
    found = late(found, "min_size")
    plain.limits = found.limits = limits
    iter(plain)
    assert len(found) == len(plain)
    assert str(list(found)) == str(list(plain))
    assert isinstance(found, CombinedLoader)


def test_late_loader_of_data_without_length_has_none():
    with pytest.raises(TypeError):
        len(late(DataLoader(Stream(), 2), TRAINING))


def test_late_loader_draws_nothing_before_its_first_batch():
    torch.manual_seed(0)
    state = torch.get_rng_state()
    found = iter(late([loader(shuffle=True), loader(Noisy())], TRAINING))
    assert len(found) == N // 2
    assert torch.equal(torch.get_rng_state(), state)
    next(found)
    assert not torch.equal(torch.get_rng_state(), state)


def test_late_loader_keeps_a_class_of_ones_own():
    class Own(CombinedLoader):
        def __next__(self):
            batch, *place = super().__next__()
            return -batch, *place

    found = late(Own(DataLoader(range(4), 2), "sequential"), VALIDATION)
    assert [batch.tolist() for batch, *_ in found] == [[0, -1], [-2, -3]]


def test_loaders_of_validation_of_a_trainer_that_has_none():
    assert loaders_of_validation(Trainer(logger=False, accelerator="cpu")) is None


@pytest.mark.parametrize(("most", "expected"), [
    (3, [2, 3]), (1, [1, 1]), (1.0, [2, 5]), (0.5, [1, 2]), (0, [0, 0]),
])  # fmt: skip
def test_limits_are_the_least_of_the_loaders_own_and_the_trainers(most, expected):
    two = combined([DataLoader(range(6), 4), DataLoader(range(20), 4)], VALIDATION)
    two.limits = [2, 7]
    assert limits(two, most) == expected


def test_share_of_a_stream_is_all_of_it():
    assert limits(combined([DataLoader(Stream())], VALIDATION), 1.0) == [float("inf")]
