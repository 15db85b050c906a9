"""What benchmarks of training steps train: BERT on text, a small CNN on digits, and chains.

All use real data, so that loading and masking take the time that they take in an experiment. The
same space and evaluator are given to our strategies and to NNI's. In a chain the layers are so
small that a step is mostly what happens around them.
"""

from __future__ import annotations

import argparse
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import nni
import pytorch_lightning as pl
import torch
from nni.nas.evaluator.pytorch import ClassificationModule, DataLoader, Lightning, Trainer
from nni.nas.nn.pytorch import LayerChoice, ModelSpace
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from nni_magic.tasks.language.mlm import mlm_evaluator
from nni_magic.tasks.language.mlm_data import prepare
from search_spaces import BertSpace
from search_spaces.bert import PRESETS

__all__ = ["WORKLOADS", "ChainSpace", "DigitsSpace", "Workload", "bert", "chain", "digits"]

N_BLOCKS = 8
CHANNELS = 16


@dataclass(frozen=True)
class Workload:
    """A model space and its evaluator, made anew for every run.

    Parameters
    ----------
    title
        What is trained, for the report.
    make_space
        Builds the space with torch's global seed.
    make_evaluator
        Given the seed of the data's order, the number of optimizer steps and the callbacks,
        builds the evaluator.
    """

    title: str
    make_space: Callable[[], ModelSpace]
    make_evaluator: Callable[[int, int, Sequence[pl.Callback]], Lightning]


class DigitsSpace(ModelSpace):
    """Chain of choice blocks of four convolutions, ``(batch, 1, 8, 8)`` to ``(batch, 10)``.

    Parameters
    ----------
    n_blocks
        Choice blocks; their labels are ``block_1`` and so on.
    channels
        Width of all hidden states, ``(batch, channels, 8, 8)``.
    """

    def __init__(self, n_blocks: int = N_BLOCKS, channels: int = CHANNELS) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, channels, 3, padding=1)
        self.layers = nn.ModuleList(
            LayerChoice(_candidates(channels), label=f"block_{n}") for n in range(1, n_blocks + 1)
        )
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))

    def forward(self, images: Tensor) -> Tensor:
        """Compute the logits."""
        hidden = self.stem(images)
        for layer in self.layers:
            hidden = layer(hidden)
        return self.head(hidden)


def _candidates(channels: int) -> OrderedDict[str, nn.Module]:
    return OrderedDict(
        conv3=_convolution(channels, 3, groups=1),
        conv5=_convolution(channels, 5, groups=1),
        separable3=_convolution(channels, 3, groups=channels),
        separable5=_convolution(channels, 5, groups=channels),
    )


def _convolution(channels: int, kernel: int, groups: int) -> nn.Sequential:
    """Convolution, batch norm, ReLU; with a pointwise convolution in between if it has groups."""
    layers: list[nn.Module] = [
        nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=groups, bias=False)
    ]
    if groups > 1:
        layers.append(nn.Conv2d(channels, channels, 1, bias=False))
    return nn.Sequential(*layers, nn.BatchNorm2d(channels), nn.ReLU())


@nni.trace
class DigitsModule(ClassificationModule):
    """NNI's own, without its report of a validation metric, of which there is none here."""

    def on_fit_end(self) -> None:
        pass


class ChainSpace(ModelSpace):
    """Chain of choice blocks of tiny linear layers, ``(batch, 1, 8, 8)`` to ``(batch, 10)``.

    Parameters
    ----------
    n_blocks
        Choice blocks; their labels are ``block_1`` and so on.
    n_candidates
        Linear layers in a block, of 16 features. Their weights are orthogonal matrices at first, so
        that hidden states neither grow nor vanish however long the chain is.
    """

    def __init__(self, n_blocks: int, n_candidates: int) -> None:
        super().__init__()
        self.stem = nn.Linear(64, 16)
        self.blocks = nn.ModuleList(
            LayerChoice([nn.Linear(16, 16) for _ in range(n_candidates)], label=f"block_{n}")
            for n in range(1, n_blocks + 1)
        )
        self.head = nn.Linear(16, 10)
        for layer in self.blocks.modules():
            if isinstance(layer, nn.Linear):
                nn.init.orthogonal_(layer.weight)

    def forward(self, images: Tensor) -> Tensor:
        """Compute the logits."""
        hidden = self.stem(images.flatten(1))
        for block in self.blocks:
            hidden = block(hidden)
        return self.head(hidden)


def bert(settings: argparse.Namespace) -> Workload:
    """A preset of the BERT space, masked language modelling, without dropout."""
    shape = PRESETS[settings.preset]
    data = prepare(settings.corpus, settings.cache, shape["vocab_size"], shape["max_length"])

    def make_evaluator(seed: int, steps: int, callbacks: Sequence[pl.Callback]) -> Lightning:
        return mlm_evaluator(
            data,
            total_steps=steps,
            batch_size=settings.batch_size,
            seed=seed,
            trainer_kwargs=_trainer(settings, steps, callbacks),
        )

    return Workload(
        f"BERT space, preset {settings.preset}, batch {settings.batch_size}",
        lambda: BertSpace.preset(settings.preset, vocab_size=data.vocab_size, dropout=0.0),
        make_evaluator,
    )


def digits(settings: argparse.Namespace) -> Workload:
    """Eight blocks of convolutions on the digits of scikit-learn, with NNI's own training step."""
    title = (
        f"CNN space of {N_BLOCKS} blocks, {CHANNELS} channels, 8 × 8 pixels, "
        f"batch {settings.batch_size}"
    )
    return Workload(title, DigitsSpace, _on_digits(settings))


def chain(settings: argparse.Namespace, n_blocks: int, n_candidates: int) -> Workload:
    """Tiny layers on the same digits, with the same training step."""
    title = f"Chain of {n_blocks} × {n_candidates} tiny layers, batch {settings.batch_size}"
    return Workload(title, lambda: ChainSpace(n_blocks, n_candidates), _on_digits(settings))


def _on_digits(
    settings: argparse.Namespace,
) -> Callable[[int, int, Sequence[pl.Callback]], Lightning]:
    images, labels = load_digits(return_X_y=True)
    tensors = torch.tensor(images, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16
    train = TensorDataset(tensors[:1536], torch.tensor(labels[:1536]))
    held_out = TensorDataset(tensors[1536:], torch.tensor(labels[1536:]))

    def make_evaluator(seed: int, steps: int, callbacks: Sequence[pl.Callback]) -> Lightning:
        order = torch.Generator().manual_seed(seed)
        size = settings.batch_size
        return Lightning(
            DigitsModule(num_classes=10),
            Trainer(**_trainer(settings, steps, callbacks)),
            train_dataloaders=DataLoader(train, size, shuffle=True, generator=order),
            val_dataloaders=DataLoader(held_out, size),
        )

    return make_evaluator


WORKLOADS: dict[str, Callable[[argparse.Namespace], Workload]] = {
    "bert": bert,
    "cnn": digits,
    "chain_8x4": partial(chain, n_blocks=8, n_candidates=4),
    "chain_26x4": partial(chain, n_blocks=26, n_candidates=4),
    "chain_100x16": partial(chain, n_blocks=100, n_candidates=16),
}


def _trainer(
    settings: argparse.Namespace, steps: int, callbacks: Sequence[pl.Callback]
) -> dict[str, Any]:
    """Settings of a trainer that does nothing but training steps."""
    return {
        "max_steps": steps,
        "max_epochs": -1,
        "accelerator": "gpu" if settings.device == "cuda" else "cpu",
        "devices": 1,
        "precision": settings.precision,
        "callbacks": list(callbacks),
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "limit_val_batches": 1,
        "check_val_every_n_epoch": 1_000_000,
    }
