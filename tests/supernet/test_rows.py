"""Rows drawn by probabilities, in loaders; and loaders that cannot draw them."""

import numpy as np
import pytest
import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from nni_magic.supernet.rows import DrawnRows, drawing_rows
from nni_magic.support.epoch_sampler import EpochSampler

DATA = TensorDataset(torch.arange(10))


def reversed_rows(size):
    return np.arange(size)[::-1] % 10


@pytest.mark.parametrize("shuffle", [True, False])
def test_loader_reads_the_rows_drawn_and_leaves_the_given_one_alone(shuffle):
    loader = DataLoader(DATA, batch_size=4, shuffle=shuffle)
    drawing = drawing_rows(loader, reversed_rows)
    assert [batch.tolist() for [batch] in drawing] == [[9, 8, 7, 6], [5, 4, 3, 2], [1, 0]]
    assert drawing.sampler.order.tolist() == list(range(9, -1, -1))
    assert type(loader.sampler) is (RandomSampler if shuffle else SequentialSampler)
    assert sorted(row for [batch] in loader for row in batch.tolist()) == list(range(10))


def test_rows_are_drawn_in_place_of_those_of_an_epochs_shuffle():
    drawing = drawing_rows(DataLoader(DATA, 4, sampler=EpochSampler(10)), reversed_rows)
    assert [batch.tolist() for [batch] in drawing] == [[9, 8, 7, 6], [5, 4, 3, 2], [1, 0]]


def test_last_batch_is_dropped_as_in_the_given_one():
    drawing = drawing_rows(DataLoader(DATA, batch_size=4, drop_last=True), reversed_rows)
    assert [len(batch) for [batch] in drawing] == [4, 4]
    assert len(drawing) == 2


def test_processes_share_one_draw(monkeypatch):
    parts = []
    for rank in range(3):
        monkeypatch.setattr("nni_magic.supernet.rows._processes", lambda rank=rank: (3, rank))
        rows = DrawnRows(DATA, reversed_rows)
        assert len(rows) == 4
        parts.append(list(rows))
    assert sorted(row for part in parts for row in part) == sorted([*range(10), 0, 1])


class Stream(IterableDataset):
    def __iter__(self):
        return iter(range(3))


@pytest.mark.parametrize(
    ("loader", "message"),
    [
        (DataLoader(Stream()), "train_dataloaders reads a Stream, whose rows have no numbers; acc"),
        ([DataLoader(DATA)], "train_dataloaders is a list; accepted is one DataLoader that draws"),
        (DataLoader(DATA, sampler=WeightedRandomSampler(torch.ones(10), 10)),
         "sampler of train_dataloaders is a WeightedRandomSampler, which draws rows in a way of"),
        (DataLoader(DATA, batch_sampler=type("Own", (BatchSampler,), {})(range(10), 2, False)),
         "batch_sampler of train_dataloaders is a Own, which draws rows in a way of its own; acc"),
        (DataLoader(DATA, batch_size=None), "batch_sampler of train_dataloaders is a NoneType"),
        (DataLoader(DATA, sampler=RandomSampler(DATA, num_samples=3)),
         "sampler of train_dataloaders draws 3 rows of 10; accepted is one DataLoader"),
    ],
)  # fmt: skip
def test_loader_that_cannot_draw_rows_is_refused(loader, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        drawing_rows(loader, reversed_rows)
