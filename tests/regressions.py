"""A small regression that trains a flat space by SGD, easily written by hand as well."""

import torch
from nni.nas.evaluator.pytorch import DataLoader, Lightning, LightningModule, Trainer
from spaces import FlatSpace, SizedSpace
from torch import nn
from torch.utils.data import TensorDataset
from training import QUIET, Watch, train

from nni_magic.supernet.conversion import to_supernet

X = torch.randn(16, 4, generator=torch.Generator().manual_seed(1))
Y = torch.randn(16, 4, generator=torch.Generator().manual_seed(2))


class Regression(LightningModule):
    """SGD on the mean squared error, with noise on the inputs that every step draws."""

    noise = 0.0

    def training_step(self, batch, batch_idx):
        x, y = batch
        self.seen = x + self.noise * torch.randn_like(x)
        return nn.functional.mse_loss(self.model(self.seen), y)

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", nn.functional.mse_loss(self.model(batch[0]), batch[1]))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def regression(watch, noise=0.0, **trainer):
    evaluator = Lightning(
        Regression(), Trainer(callbacks=[watch], **{**QUIET, "max_epochs": 1, **trainer}),
        train_dataloaders=DataLoader(TensorDataset(X, Y), batch_size=4),
        val_dataloaders=DataLoader(TensorDataset(X, Y), batch_size=16),
    )  # fmt: skip
    evaluator.module.noise = noise
    return evaluator


class Headed(SizedSpace):
    """Blocks whose candidates differ in parameters, and a head that every child trains."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(4, 4)

    def forward(self, x):
        return self.head(super().forward(x))


def run(strategy, watch=None, make_space=FlatSpace, **settings):
    torch.manual_seed(5)
    space = make_space()
    train(strategy, space, regression(watch or Watch(), **settings))
    return space


def fresh(make_space=FlatSpace):
    """The supernet that :func:`run` begins with, and its optimizer."""
    torch.manual_seed(5)
    net = to_supernet(make_space())
    return net, torch.optim.SGD(net.parameters(), 0.1)


def assert_same_weights(a, b, tolerance=1e-6):
    for (name, x), y in zip(a.named_parameters(), b.parameters(), strict=True):
        torch.testing.assert_close(x, y, rtol=tolerance, atol=tolerance, msg=name)
