"""The small spaces can be trained and aligned by the defaults."""

import pytest
import pytorch_lightning as pl
import torch
from nni.nas.space import BaseModelSpace

from experiments.studies.floor.spaces import SMALL_SPACES


@pytest.mark.parametrize("name", [
    pytest.param(name, marks=[pytest.mark.slow] * (name == "bert")) for name in SMALL_SPACES
])  # fmt: skip
def test_space_has_choices_and_an_evaluator_of_its_own(name):
    small = SMALL_SPACES[name]
    space = small.make_space()
    assert isinstance(space, BaseModelSpace)
    assert len(space.simplify()) > 1
    evaluator = small.make_evaluator(0)
    assert evaluator.module is not small.make_evaluator(0).module
    assert evaluator.trainer.max_epochs == 10


def test_rate_falls_in_a_straight_line_to_zero():
    evaluator = SMALL_SPACES["plain_cnn_falling"].make_evaluator(0)
    evaluator.trainer.limit_train_batches, evaluator.trainer.fit_loop.max_epochs = 4, 2
    rates = []

    class Recorded(pl.Callback):
        def on_train_batch_end(self, trainer, *_):
            rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    evaluator.trainer.callbacks.append(Recorded())
    evaluator.fit(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10)))
    assert rates == pytest.approx([2e-3 * (1 - step / 8) for step in range(8)])
