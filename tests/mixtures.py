"""Train mixtures on small spaces; stop and resume them."""

import math
from functools import partial

import pytorch_lightning as pl
import torch
from nni.nas.evaluator.pytorch import DataLoader, Lightning, LightningModule, Trainer
from spaces import CellSpace, ConvSpace, MixedSpace
from torch.utils.data import TensorDataset
from training import QUIET, Stop, classification, train

from nni_magic.strategies.registry import METHODS

SPACES = {"cnn": ConvSpace, "mixed": MixedSpace, "cell": CellSpace, "two": partial(ConvSpace, 2)}
VARIANTS = {
    "gaea": ("gaea", {}),
    "gaea_single": ("gaea", {"bilevel": False}),
    "gaea_gdas": ("gaea", {"base": "gdas"}),
    "gaea_pc_darts": ("gaea", {"base": "pc_darts", "partial_channels": 2}),
    "darts": ("darts", {}),
    "pc_darts": ("pc_darts", {"partial_channels": 2}),
    "darts_pt": ("darts_pt", {"tune_epochs": 1}),
    "drop_nas": ("drop_nas", {"drop_rate": 0.1}),
    "proxyless_nas": ("proxyless_nas", {}),
    "gumbel_darts": ("gumbel_darts", {}),
}
TRAINED, HELD_OUT = torch.randn(2, 8, 4, generator=torch.Generator().manual_seed(0))


class Losses(pl.Callback):
    """Remembers the loss and the architecture's summary of every step; may stop, like a kill."""

    def __init__(self, stop_after=None, path=None):
        self.stop_after, self.path = stop_after, path
        self.losses, self.summaries = [], []

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        self.losses.append(outputs["loss"].item())
        summary = module.architecture.summary()
        self.summaries.append({name: float(value) for name, value in summary.items()})
        if trainer.global_step == self.stop_after:
            trainer.save_checkpoint(self.path)
            raise Stop


def make(variant, **settings):
    """A strategy with settings for a short run."""
    name, own = VARIANTS[variant]
    common = {"seed": 3, "calibration_batches": 1, "validation_batches": 2}
    return METHODS[name].load()(**{**common, **own, **settings})


def run(variant, kind="cnn", stop_after=None, path=None, checkpoint=None, trainer=None, **settings):
    """Train a mixture; gives the strategy and what was watched."""
    watch = Losses(stop_after, path)
    torch.manual_seed(11)
    strategy = make(variant, **settings)
    evaluator = classification(watch, **(trainer or {}))
    train(strategy, SPACES[kind](), evaluator, checkpoint)
    return strategy, watch


class Regression(LightningModule):
    """A squared error, and SGD: everything can be done by hand."""

    def training_step(self, batch, batch_idx):
        [x] = batch
        return ((self.model(x) - x) ** 2).mean()

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", self.training_step(batch, batch_idx))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


class Odd(Regression):
    """Gives a loss that is not finite on some data."""

    def __init__(self, wrong):
        super().__init__()
        self.wrong = wrong

    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)
        return loss * (math.nan if torch.equal(batch[0], self.wrong) else 1.0)


def regression(module=None, **trainer):
    return Lightning(
        module or Regression(),
        Trainer(**{"max_steps": 1, "num_sanity_val_steps": 0, **QUIET, **trainer}),
        train_dataloaders=DataLoader(TensorDataset(TRAINED), batch_size=8),
        val_dataloaders=DataLoader(TensorDataset(HELD_OUT), batch_size=8),
    )
