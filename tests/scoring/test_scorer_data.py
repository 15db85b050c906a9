"""Which data children are scored on."""

import numpy as np
import pytest
import torch
from nni.nas.evaluator.pytorch import DataLoader
from scored import (
    BATCH,
    IMAGES,
    LABELS,
    trained,
)
from torch.utils.data import TensorDataset

from nni_magic.supernet.resume import isolated_randomness, seed_generators

torch.set_num_threads(1)


@pytest.mark.parametrize("used", [0, 1, 3])
def test_held_out_batches_do_not_depend_on_what_was_read_before(used):
    """Of a loader that shuffles by its own generator, and of data augmented by NumPy."""

    class Augmented(TensorDataset):
        def __getitem__(self, index):
            image, label = super().__getitem__(index)
            return image + np.random.rand(), label

    generator = torch.Generator().manual_seed(5)
    val = DataLoader(Augmented(IMAGES, LABELS), batch_size=BATCH, shuffle=True, generator=generator)
    for _ in range(used):
        list(val)
    module = trained(val=val)
    module.scorer.reset()
    state = generator.get_state()
    with isolated_randomness():
        images, _ = module.scorer.held_out()[0].batch
    assert torch.equal(generator.get_state(), state)
    with isolated_randomness():
        seed_generators(0)
        fresh = torch.Generator().manual_seed(0)
        expected, _ = next(iter(DataLoader(val.dataset, BATCH, shuffle=True, generator=fresh)))
    assert torch.equal(images, expected)
