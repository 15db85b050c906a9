"""Small data sets and loaders of projects that are not ours: rows of numbers, images, text."""

from __future__ import annotations

import collections
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pytorch_lightning as pl
import torch
from nni.nas.evaluator.pytorch import DataLoader
from torch import Tensor
from torch.utils.data import (
    Dataset,
    IterableDataset,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
)

FEATURES, CLASSES, BATCH = 6, 3, 8
TRAIN, HELD_OUT = 24, 20  # three batches each, the last one held out is smaller


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def numbers(n=TRAIN, seed=0):
    x = torch.randn(n, FEATURES, generator=generator(seed))
    return TensorDataset(x, (x[:, :CLASSES] + 0.3 * x[:, CLASSES:]).argmax(1))


def images(n=TRAIN, seed=0):
    x = torch.randn(n, 1, 8, 8, generator=generator(seed))
    return TensorDataset(x, (torch.arange(n) + seed) % CLASSES)


def targets(n=TRAIN, seed=0):
    x, y = numbers(n, seed).tensors
    return TensorDataset(x, y[:, None].float() + x[:, :1])


class Mapped(Dataset):
    """Rows of another data set, each turned into something."""

    def __init__(self, rows, function):
        self.rows, self.function = rows, function

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        return self.function(*self.rows[index])


class Streamed(IterableDataset):
    """Rows without a length."""

    def __init__(self, rows):
        self.rows = rows

    def __iter__(self):
        return (self.rows[i] for i in range(len(self.rows)))


def shuffled(rows, batch_size=BATCH, shuffle=True, **options):
    """In an order that depends on nothing that is drawn elsewhere."""
    return DataLoader(rows, batch_size, shuffle=shuffle, generator=generator(4), **options)


def loaders(rows=numbers, *, shuffle=True, **options):
    """What is given to an evaluator: shuffled training data, and held-out data in order."""
    return {
        "train_dataloaders": shuffled(rows(), shuffle=shuffle, **options),
        "val_dataloaders": DataLoader(rows(HELD_OUT, 1), batch_size=BATCH, **options),
    }


def mapped(function, rows=numbers, **options):
    return loaders(lambda *args: Mapped(rows(*args), function), **options)


def dicts():
    return mapped(lambda x, y: {"x": x, "labels": y})


class Sample(NamedTuple):
    x: Tensor
    y: Tensor


def named_tuples():
    return loaders(collate_fn=_named)


def _named(rows):
    return Sample(*default_collate(rows))


@dataclass
class Example:
    """A batch with a list inside."""

    x: Tensor
    y: Tensor
    names: list[str]


def dataclasses():
    return loaders(collate_fn=lambda rows: Example(*default_collate(rows), ["row"] * len(rows)))


class Graphs:
    """A batch of its own kind, that knows how to move."""

    def __init__(self, x, y):
        self.x, self.y = x, y

    def to(self, device, **kwargs):
        self.x, self.y = self.x.to(device), self.y.to(device)
        return self


def graphs():
    return loaders(collate_fn=lambda rows: Graphs(*default_collate(rows)))


class Encoding(collections.UserDict):
    """As the tokenizers of Hugging Face give: a mapping with ``.to`` and attributes."""

    def __getattr__(self, name):
        if name == "data" or name not in self.data:
            raise AttributeError(name)
        return self.data[name]

    def to(self, device, **kwargs):
        self.data = {name: value.to(device) for name, value in self.data.items()}
        return self


def encodings():
    return loaders(sentences, collate_fn=lambda rows: Encoding(default_collate(rows)))


class Sentences(Dataset):
    """Ids with padding, and the mask of what is real."""

    def __init__(self, n, seed):
        self.ids = torch.randint(1, 20, (n, 10), generator=generator(seed))
        self.mask = torch.arange(10) < torch.randint(4, 11, (n, 1), generator=generator(seed + 9))
        self.labels = self.ids[:, 0] % CLASSES

    def __len__(self):
        return len(self.ids)

    def __getitem__(self, i):
        ids = torch.where(self.mask[i], self.ids[i], 0)
        return {"input_ids": ids, "attention_mask": self.mask[i], "labels": self.labels[i]}


def sentences(n=TRAIN, seed=0):
    return Sentences(n, seed)


def several_held_out():
    """Two held-out loaders in a list; the metric of each has a name of its own."""
    both = [DataLoader(numbers(n, seed), batch_size=BATCH) for n, seed in ((HELD_OUT, 1), (16, 2))]
    return {**loaders(), "val_dataloaders": both}


def held_out_in_a_dict():
    return {**loaders(), "val_dataloaders": dict(held_out_by_name()["val_dataloaders"].iterables)}


def none():
    return {}


def held_out_by_name(mode="max_size_cycle"):
    both = {
        name: DataLoader(numbers(n, seed), batch_size=BATCH)
        for name, n, seed in (("a", HELD_OUT, 1), ("b", 16, 2))
    }
    combined = pl.utilities.combined_loader.CombinedLoader(both, mode)
    return {**loaders(), "val_dataloaders": combined}


def held_out_in_sequence():
    return held_out_by_name("sequential")


def several_to_train_on():
    """Labelled and unlabelled data, as in semi-supervised learning; the batch is a dict."""
    return {
        **loaders(),
        "train_dataloaders": {
            "labelled": shuffled(numbers(16), 4),
            "unlabelled": shuffled(numbers(TRAIN, 3)),
        },
    }


def trained_on_the_shortest():
    both = [shuffled(numbers(n, n)) for n in (TRAIN, 40)]
    combined = pl.utilities.combined_loader.CombinedLoader(both, "min_size")
    return {**loaders(), "train_dataloaders": combined}


def weighted():
    weights = 1.0 / (1 + numbers().tensors[1].double())
    sampler = WeightedRandomSampler(weights, TRAIN, generator=generator(4))
    train = DataLoader(numbers(), batch_size=BATCH, sampler=sampler, drop_last=True,
                       generator=generator(5))  # fmt: skip
    return {**loaders(), "train_dataloaders": train}


def streamed():
    return {
        "train_dataloaders": DataLoader(Streamed(numbers()), batch_size=BATCH),
        "val_dataloaders": DataLoader(Streamed(numbers(HELD_OUT, 1)), batch_size=BATCH),
    }


def augmented():
    """Random numbers of two libraries in the data set itself."""
    noisy = Mapped(numbers(), lambda x, y: (x + 0.1 * torch.randn(1) * np.random.rand(), y))
    return {**loaders(), "train_dataloaders": shuffled(noisy)}


def ragged():
    """Rows of different lengths, in a list that Lightning would not know how to move."""
    return mapped(
        lambda x, y: (x[: 3 + int(y)], y), collate_fn=lambda rows: list(zip(*rows, strict=True))
    )


class Numbers(pl.LightningDataModule):
    """Downloads, splits, and normalises on the device."""

    def __init__(self):
        super().__init__()
        self.ready = False

    def prepare_data(self):
        self.ready = True

    def setup(self, stage):
        assert self.ready or stage != "fit"
        self.rows = {"train": numbers(), "val": numbers(HELD_OUT, 1)}
        self.scale = 0.5

    def train_dataloader(self):
        return shuffled(self.rows["train"])

    def val_dataloader(self):
        return DataLoader(self.rows["val"], batch_size=BATCH)

    def on_after_batch_transfer(self, batch, dataloader_idx):
        x, y = batch
        return x * self.scale - 0.25, y


def data_module():
    return {"datamodule": Numbers()}
