"""A small trained supernet whose children are scored, and the same scores by hand."""

import copy

import torch
from nni.nas.evaluator.pytorch import DataLoader, Lightning, LightningModule, Trainer
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.space import RawFormatModelSpace
from spaces import ConvSpace
from torch import nn
from torch.utils.data import TensorDataset
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score, MulticlassPrecision

from nni_magic.strategies import SPOS

BATCH = 8
IMAGES = torch.randn(20, 1, 8, 8, generator=torch.Generator().manual_seed(0))  # 8 + 8 + 4
LABELS = torch.arange(20) % 10
CHILD = {"block_1": "conv3", "block_2": "drop", "block_3": "skip", "block_4": "conv1"}
OTHER = {"block_1": "conv1", "block_2": "conv1", "block_3": "conv3", "block_4": "drop"}


class Evaluator(LightningModule):
    """Logs its validation loss, a torchmetric, and how often it was asked."""

    batches = []  # of the class: attributes of the module are put back

    def __init__(self):
        super().__init__()
        self.accuracy = MulticlassAccuracy(10, average="micro")

    def training_step(self, batch, index):
        return nn.functional.cross_entropy(self.model(batch[0]), batch[1])

    def validation_step(self, batch, index):
        self.batches.append((index, len(batch[0])))
        logits = self.model(batch[0])
        loss = nn.functional.cross_entropy(logits, batch[1])
        self.report(logits, loss, batch[1])
        return loss

    def report(self, logits, loss, labels):
        self.log("val_loss", loss)
        self.accuracy.update(logits, labels)
        self.log("val_acc", self.accuracy, on_epoch=True)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Collected(Evaluator):
    """Logs a collection whose members share their state."""

    def __init__(self):
        super().__init__()
        self.metrics = MetricCollection(
            {
                "precision": MulticlassPrecision(10, average="macro"),
                "f1": MulticlassF1Score(10, average="macro"),
            }
        )

    def report(self, logits, loss, labels):
        self.metrics.update(logits, labels)
        self.log_dict(self.metrics)


def loader(**kwargs):
    return DataLoader(TensorDataset(IMAGES, LABELS), batch_size=BATCH, **kwargs)


def trained(evaluator=None, space=None, val=None, trainer=None, **kwargs):
    """Train for one epoch and give the strategy's Lightning module."""
    torch.manual_seed(0)
    settings = {
        "max_epochs": 1, "accelerator": "cpu", "logger": False, "enable_progress_bar": False,
        "enable_checkpointing": False, "enable_model_summary": False, "num_sanity_val_steps": 0,
    }  # fmt: skip
    strategy = SPOS(seed=0, validation_children=2, **{"calibration_batches": 0, **kwargs})
    lightning = Lightning(
        evaluator or Evaluator(),
        Trainer(**{**settings, **(trainer or {})}),
        train_dataloaders=loader(),
        val_dataloaders=loader() if val is None else val,
    )
    model = RawFormatModelSpace.from_model(space or ConvSpace(), lightning)
    strategy(model, SequentialExecutionEngine())
    return strategy.oneshot_module


def logits_by_hand(module, sample, images=IMAGES):
    """Of the child frozen out of the supernet, in evaluation mode."""
    child = copy.deepcopy(module.model.freeze(sample)).eval()
    with torch.no_grad():
        return child(images)


def loss_by_hand(module, sample, n=20):
    return nn.functional.cross_entropy(logits_by_hand(module, sample)[:n], LABELS[:n]).item()


def accuracy_by_hand(module, sample):
    return (logits_by_hand(module, sample).argmax(1) == LABELS).double().mean().item()
