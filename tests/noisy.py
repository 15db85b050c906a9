"""Data with noise from the global generators, to see where these are."""

import random

import numpy as np
import torch
from torch.utils.data import (
    DataLoader,
    Dataset,
)

N = 12


def draw():
    """One number of each global generator."""
    return torch.rand(1).item(), np.random.rand(), np.random.randn(), random.random()


class Noisy(Dataset):
    """Item i with noise from the global generators, as augmentation adds it."""

    def __len__(self):
        return N

    def __getitem__(self, i):
        return torch.tensor([i, torch.rand(1).item(), np.random.rand(), random.random()])


def loader(dataset=None, **kwargs):
    return DataLoader(dataset or Noisy(), batch_size=2, **kwargs)


def epoch(batches):
    return [batch.tolist() for batch in batches]
