"""Score children one by one in plain torch, on supernets that look trained."""

import copy
from itertools import islice

import numpy as np
import torch
from nni.nas.evaluator.pytorch import DataLoader, Lightning, LightningModule, Trainer
from spaces import set_path, supernet
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import TensorDataset
from torchmetrics.classification import MulticlassAccuracy
from training import QUIET

from nni_magic.children.samples import candidates, neighbours, random_sample
from nni_magic.support.compat import freeze


def images(n=20, size=8, channels=1):
    generator = torch.Generator().manual_seed(5)
    return TensorDataset(
        torch.randn(n, channels, size, size, generator=generator), torch.arange(n) % 10
    )


def rows():
    return TensorDataset(
        torch.randn(20, 4, generator=torch.Generator().manual_seed(5)), torch.arange(20) % 4
    )


def trained(make, convert=supernet):
    """A supernet whose weights and running statistics are not those of its initialisation."""
    torch.manual_seed(1)
    net = convert(make())
    for norm in net.modules():
        if isinstance(norm, nn.BatchNorm2d) and norm.track_running_stats:
            nn.init.normal_(norm.running_mean, std=0.3)
            nn.init.uniform_(norm.running_var, 0.5, 2)
    return net


class Images(LightningModule):
    """Images or rows with labels; logs a loss, and accuracy as a torchmetrics object."""

    def __init__(self):
        super().__init__()
        self.accuracy = MulticlassAccuracy(10, average="micro")

    def training_step(self, batch, index):
        return cross_entropy(self.model(batch[0]), batch[1])

    def validation_step(self, batch, index):
        logits = self.model(batch[0])
        self.log("val_loss", cross_entropy(logits, batch[1]))
        self.accuracy.update(logits, batch[1])
        self.log("val_acc", self.accuracy)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Rows(Images):
    def validation_step(self, batch, index):
        self.log("val_loss", cross_entropy(self.model(batch[0]), batch[1]))


def lightning(module=None, data=None, batch_size=8, train=None, **trainer):
    return Lightning(
        module or Images(),
        Trainer(**{"max_epochs": 1, **QUIET, **trainer}),
        train_dataloaders=train,
        val_dataloaders=DataLoader(data or images(), batch_size=batch_size),
    )


def outputs_by_hand(net, sample, evaluator, n_batches):
    """Outputs of the model on its path and the batches: nothing but torch."""
    set_path(net, sample)
    net.eval()
    pairs = []
    with torch.no_grad():
        for batch in islice(evaluator.val_dataloaders, n_batches):
            if isinstance(batch, dict):
                logits = net(batch["input_ids"], attention_mask=batch["attention_mask"])
                kept = batch["attention_mask"]
                pairs.append((logits[kept], batch["labels"][kept], len(kept)))
            else:
                pairs.append((net(batch[0]), batch[1], len(batch[1])))
    return pairs


def losses_by_hand(net, samples, evaluator, n_batches=4):
    losses = []
    for sample in samples:
        pairs = outputs_by_hand(net, sample, evaluator, n_batches)
        means = [cross_entropy(logits, labels).item() for logits, labels, _ in pairs]
        losses.append(float(np.average(means, weights=[size for *_, size in pairs])))
    return losses


def recalibrated_losses(net, samples, evaluator, batches):
    """Of the children frozen out of the supernet: statistics reset, averaged over batches."""
    losses = []
    for sample in samples:
        child = copy.deepcopy(freeze(net, sample))
        child.train()
        for module in child.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.reset_running_stats()
                module.momentum = None
            if isinstance(module, nn.Dropout):
                module.eval()
        with torch.no_grad():
            for batch in batches:
                child(batch[0])
            child.eval()
            pairs = [(child(x), y) for x, y in islice(evaluator.val_dataloaders, 4)]
        means = [cross_entropy(logits, labels).item() for logits, labels in pairs]
        losses.append(float(np.average(means, weights=[len(labels) for _, labels in pairs])))
    return losses


def population(net, n=12, seed=0):
    """Random children with duplicates, and all neighbours of the first, in disorder."""
    rng, choices = np.random.default_rng(seed), candidates(net)
    drawn = [random_sample(choices, rng) for _ in range(n)]
    children = [*drawn, *list(neighbours(drawn[0], choices))[:40], *drawn[:3]]
    return [dict(children[i]) for i in rng.permutation(len(children))]
