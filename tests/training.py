"""Train strategies on small spaces, record what they did, stop and resume them."""

from __future__ import annotations

import contextlib

import pytest
import pytorch_lightning as pl
import torch
from nni.nas.evaluator.pytorch import (
    Classification,
    DataLoader,
    Lightning,
    LightningModule,
    Trainer,
)
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.space import RawFormatModelSpace
from torch import nn
from torch.utils.data import Dataset, TensorDataset
from twins import Twins, TwinsByTurn

from nni_magic.strategies.registry import METHODS
from nni_magic.strategies.settings import AlignmentSettings
from search_spaces import BertSpace

# For a short run, where a method has such a setting.
SHORT = {
    "align_every": 2, "warmup_epochs": 1, "anchor_interval": 3, "anchor_candidates": 4,
    "n_children": 2, "percentile": 30, "n_random": 1, "children": 2,
    "scored_children": 30, "pool_share": 0.3, "cost_groups": 4,
}  # fmt: skip
# All others, and settings that change much of a method; the whole contract takes long, so most of
# theirs is marked slow.
VARIANTS = {"magic_t_walks": ("magic_t", {"walks": 3})}
STRATEGIES = ["spos", "magic_t", "magic_a", "magic_at"]
OTHERS = [name for name, row in METHODS.items() if not row.for_analysis and name not in STRATEGIES]
ABLATIONS = [*(name for name in METHODS if name not in STRATEGIES), *VARIANTS]
ALIGNING = [name for name, m in METHODS.items() if issubclass(m.settings, AlignmentSettings)]
ANCHORED = [name for name in ALIGNING if "anchor_candidates" in METHODS[name].options]
# Of the tests alone: two children a step, the second of which also learns from the first.
TWO_TURNS = {"twins": Twins, "twins_by_turn": TwinsByTurn}
EVERY = [
    *STRATEGIES, "twins",
    *(pytest.param(name, marks=pytest.mark.slow) for name in [*ABLATIONS, "twins_by_turn"]),
]  # fmt: skip
# Some refuse a shrinking, which their own tests assert.
FIXED = ("fairnas", "prenas", "few_shot")
SHRINKABLE = [
    each for each in EVERY if (each if isinstance(each, str) else each.values[0]) not in FIXED
]
QUIET = {
    "logger": False, "enable_checkpointing": False, "enable_progress_bar": False,
    "enable_model_summary": False, "accelerator": "cpu",
}  # fmt: skip


def make(name, **settings):
    """A strategy with settings for a short run."""
    common = {
        "seed": 3, "validation_children": 3, "validation_batches": 2, "calibration_batches": 1,
    }  # fmt: skip
    if name in TWO_TURNS:
        return TWO_TURNS[name](**{**common, **settings})
    base, own = VARIANTS.get(name, (name, {}))
    method = METHODS[base]
    short = {key: value for key, value in SHORT.items() if key in method.options}
    return method.load()(**{**common, **short, **own, **settings})


def anchor_of(module):
    """The anchor of a Lightning module that aligns to one."""
    [term] = module.terms
    return term.target.anchor


class Stop(Exception):
    """Stands for a killed process."""


class Watch(pl.Callback):
    """Remembers child and loss of every batch; saves a checkpoint after a step and stops."""

    def __init__(self, stop_after=None, path=None):
        self.stop_after, self.path = stop_after, path
        self.steps = []
        self.validations = []

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        self.steps.append((dict(module.child), outputs["loss"].item()))
        if trainer.global_step == self.stop_after:
            trainer.save_checkpoint(self.path)
            raise Stop

    def on_validation_end(self, trainer, module):
        self.validations.append({k: float(v) for k, v in trainer.callback_metrics.items()})


def images(n=48):
    generator = torch.Generator().manual_seed(0)
    return TensorDataset(torch.randn(n, 1, 8, 8, generator=generator), torch.arange(n) % 10)


def classification(watch, epochs=3, **trainer):
    """NNI's own evaluator, shuffling by the global generator."""
    return Classification(
        num_classes=10,
        learning_rate=0.01,
        train_dataloaders=DataLoader(images(), batch_size=8, shuffle=True),
        val_dataloaders=DataLoader(images(20), batch_size=8),
        max_epochs=epochs,
        callbacks=[watch],
        **{**QUIET, **trainer},
    )


class Tokens(Dataset):
    """Rows of ids with padding, as the dicts that Hugging Face's loaders give."""

    def __len__(self):
        return 24

    def __getitem__(self, row):
        generator = torch.Generator().manual_seed(row)
        ids = torch.randint(1, 50, (12,), generator=generator)
        mask = torch.arange(12) < 6 + row % 6
        return {"input_ids": torch.where(mask, ids, 0), "attention_mask": mask, "labels": ids}


class DictModule(LightningModule):
    """A custom evaluator: dict batches, arguments by keyword, a dict as output."""

    def _loss(self, batch):
        logits = self.model(batch["input_ids"], attention_mask=batch["attention_mask"])
        return nn.functional.cross_entropy(
            logits[batch["attention_mask"]], batch["labels"][batch["attention_mask"]]
        )

    def training_step(self, batch, batch_idx):
        return {"loss": self._loss(batch), "extra": len(batch)}

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", self._loss(batch))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), 1e-3)


def dict_evaluator(watch, epochs=3, **trainer):
    return Lightning(
        DictModule(),
        Trainer(max_epochs=epochs, callbacks=[watch], **{**QUIET, **trainer}),
        train_dataloaders=DataLoader(Tokens(), batch_size=6, shuffle=True),
        val_dataloaders=DataLoader(Tokens(), batch_size=8),
    )


def bert():
    return BertSpace(4, 16, 50, 12, dropout=0.1, candidates=("mha2", "ffn", "conv3"))


def train(strategy, space, evaluator, checkpoint=None, seed=0):
    """Run a strategy as NNI's experiment does; a :class:`Stop` ends it like a kill."""
    engine = SequentialExecutionEngine()
    strategy.initialize(RawFormatModelSpace.from_model(space, evaluator), engine)
    if checkpoint is not None:
        strategy.load_state_dict({"ckpt_path": str(checkpoint)})
    torch.manual_seed(seed)
    with contextlib.suppress(Stop):
        strategy.run()
    return strategy
