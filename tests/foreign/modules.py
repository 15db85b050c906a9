"""Lightning modules of projects that are not ours, as users write them."""

from __future__ import annotations

import copy
import random
import tempfile
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
import torchmetrics
from foreign import data
from foreign.data import CLASSES, FEATURES
from nni.nas.evaluator.pytorch import LightningModule
from nni.nas.evaluator.pytorch.lightning import (
    ClassificationModule,
    RegressionModule,
    SupervisedLearningModule,
)
from torch import nn
from torch.nn import functional as F


def accuracy():
    return torchmetrics.Accuracy("multiclass", num_classes=CLASSES)


class Plain(LightningModule):
    """The usual classifier; the others change one habit of it."""

    def loss(self, batch):
        x, y = batch
        return F.cross_entropy(self.model(x), y)

    def training_step(self, batch, batch_idx):
        loss = self.loss(batch)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", self.loss(batch))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), 0.01)


# What a batch is, and what is done to it


class PopsLabels(Plain):
    def loss(self, batch):
        labels = batch.pop("labels")
        return F.cross_entropy(self.model(batch["x"]), labels)


class WritesIntoBatch(Plain):
    def loss(self, batch):
        x, y = batch
        x.mul_(3).sub_(1)
        batch[0] = None
        return F.cross_entropy(self.model(x), y)


class Attributes(Plain):
    def loss(self, batch):
        return F.cross_entropy(self.model(batch.x), batch.y)


class ClearsObject(Plain):
    """Moves what it needs out of a batch object."""

    def loss(self, batch):
        x, batch.x = batch.x * 2, None
        return F.cross_entropy(self.model(x), batch.y)

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", self.loss(batch), batch_size=len(batch.y))


class Text(Plain):
    def loss(self, batch):
        labels = batch.pop("labels")
        return F.cross_entropy(self.model(**batch), labels)


class UnpacksEncoding(Plain):
    def loss(self, batch):
        logits = self.model(batch.input_ids, attention_mask=batch.attention_mask)
        return F.cross_entropy(logits, batch["labels"])


class Keywords(Plain):
    def loss(self, batch):
        x, y = batch
        return F.cross_entropy(self.model(features=x, scale=0.5), y)


class NormalisesBefore(Plain):
    def on_before_batch_transfer(self, batch, dataloader_idx):
        x, y = batch
        return [(x - 0.3) / 2.5, y]


class AugmentsAfter(Plain):
    """One thing in training, another in validation."""

    def on_after_batch_transfer(self, batch, dataloader_idx):
        x, y = batch
        return (x.flip(1) if self.trainer.training else x * 1.5), y


class AddsNoiseAfter(Plain):
    """Random in training."""

    def on_after_batch_transfer(self, batch, dataloader_idx):
        x, y = batch
        return (x + 0.2 * torch.randn_like(x) if self.trainer.training else x), y


class Transfers(Plain):
    """Pads a list of rows of different lengths where it moves them."""

    def transfer_batch_to_device(self, batch, device, dataloader_idx):
        rows, labels = batch
        x = torch.zeros(len(rows), FEATURES)
        for i, row in enumerate(rows):
            x[i, : len(row)] = row
        return x.to(device), torch.as_tensor(labels, device=device)


# Metrics


class Gathers(Plain):
    """Gathers outputs over the epoch in a list, and logs at its end."""

    def __init__(self):
        super().__init__()
        self.outputs = []

    def validation_step(self, batch, batch_idx):
        x, y = batch
        logits = self.model(x)
        self.outputs.append((logits, y))
        self.log("val_loss", F.cross_entropy(logits, y))

    def on_validation_epoch_end(self):
        logits, y = (torch.cat(parts) for parts in zip(*self.outputs, strict=True))
        self.log("val_acc", (logits.argmax(1) == y).float().mean())
        self.outputs.clear()


class TorchMetrics(Plain):
    def __init__(self):
        super().__init__()
        self.train_acc, self.val_acc = accuracy(), accuracy()

    def training_step(self, batch, batch_idx):
        x, y = batch
        logits = self.model(x)
        self.train_acc(logits, y)
        self.log("train_acc", self.train_acc, on_step=True, on_epoch=True)
        return F.cross_entropy(logits, y)

    def validation_step(self, batch, batch_idx):
        x, y = batch
        logits = self.model(x)
        self.val_acc.update(logits, y)
        self.log("val_loss", F.cross_entropy(logits, y), prog_bar=True)
        self.log("val_acc", self.val_acc, on_epoch=True)


class Collection(Plain):
    def __init__(self):
        super().__init__()
        options = {"num_classes": CLASSES, "average": "macro"}
        metrics = torchmetrics.MetricCollection(
            [torchmetrics.F1Score("multiclass", **options), accuracy()]
        )
        self.val_metrics = metrics.clone(prefix="val_")

    def validation_step(self, batch, batch_idx):
        x, y = batch
        logits = self.model(x)
        self.val_metrics.update(logits, y)
        self.log_dict({"val_loss": F.cross_entropy(logits, y), "val_entropy": 0.0})
        self.log_dict(self.val_metrics)


class MetricsInList(Plain):
    """Metrics that Lightning does not see, computed by hand at the end."""

    def __init__(self):
        super().__init__()
        self.metrics = [torchmetrics.MeanMetric()]

    def validation_step(self, batch, batch_idx):
        self.metrics[0].update(self.loss(batch), len(batch[0]))
        self.log("val_loss", self.loss(batch))

    def on_validation_epoch_end(self):
        self.log("val_mean", self.metrics[0].compute())
        self.metrics[0].reset()


class LogsMuch(Plain):
    """``log_dict``, per step and per epoch, for several processes, and a weight of its own."""

    def training_step(self, batch, batch_idx):
        loss = self.loss(batch)
        self.log("train_loss", loss, on_step=True, on_epoch=True, sync_dist=True)
        self.log_dict({"train_twice": 2 * loss}, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        loss = self.loss(batch)
        self.log("val_loss", loss, on_step=True, on_epoch=True, sync_dist=True, batch_size=1)


class Returns(Plain):
    """Logs nothing in validation, and returns the loss."""

    def validation_step(self, batch, batch_idx):
        return self.loss(batch)


class Shared(Plain):
    """One function for all stages, with the stage's name in the metric's."""

    def step(self, batch, stage):
        x, y = batch
        logits = self(x)
        loss = F.cross_entropy(logits, y, label_smoothing=0.1 if stage == "train" else 0.0)
        accuracy = (logits.argmax(1) == y).float().mean()
        self.log_dict({f"{stage}_loss": loss, f"{stage}_acc": accuracy}, batch_size=len(y))
        return loss

    def forward(self, x):
        return self.model(x) / 2

    def training_step(self, batch, batch_idx):
        return self.step(batch, "train")

    def validation_step(self, batch, batch_idx):
        return self.step(batch, "val")


# Signatures, and what steps return


class BatchAlone(Plain):
    def training_step(self, batch):
        return self.loss(batch)

    def validation_step(self, batch):
        self.log("val_loss", self.loss(batch))


class LoaderIndex(Plain):
    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        self.log("val_loss", self.loss(batch) * (1 + dataloader_idx))


class TwoLoaders(Plain):
    """Both loaders under one name, each weighted by its rows."""

    def validation_step(self, batch, batch_idx, dataloader_idx):
        name = f"val_{'ab'[dataloader_idx]}"
        self.log(name, self.loss(batch), add_dataloader_idx=False)


class JoinedLoaders(Plain):
    """A batch that holds one of each loader, or None where one is over."""

    def validation_step(self, batch, batch_idx):
        losses = [self.loss(part) for part in batch.values() if part is not None]
        self.log("val_loss", torch.stack(losses).mean(), batch_size=1)


class SemiSupervised(Plain):
    def training_step(self, batch, batch_idx):
        loss = self.loss(batch["labelled"])
        x = batch["unlabelled"][0]
        both = [self.model(x).softmax(1), self.model(x + 0.1).softmax(1)]
        return loss + F.mse_loss(both[1], both[0].detach())


class PairOfBatches(Plain):
    def training_step(self, batch, batch_idx):
        return sum(self.loss(part) for part in batch)


class GivesDict(Plain):
    def training_step(self, batch, batch_idx):
        loss = self.loss(batch)
        return {"loss": loss, "logits": loss.detach(), "names": ["a"]}


class SometimesNone(Plain):
    """Passes over some batches."""

    def training_step(self, batch, batch_idx):
        return None if batch_idx == 1 else self.loss(batch)


class Siamese(Plain):
    """Calls the model twice a step."""

    def loss(self, batch):
        x, y = batch
        a, b = self.model(x), self.model(x.flip(0))
        return F.cross_entropy(a, y) + 0.1 * F.mse_loss(a, b)


class TupleOutput(Plain):
    def loss(self, batch):
        logits, _ = self.model(batch[0])
        return F.cross_entropy(logits, batch[1])


class DictOutput(Plain):
    def loss(self, batch):
        return F.cross_entropy(self.model(batch[0])["logits"], batch[1])


class NeedsGradients(Plain):
    """Differentiates by the input in validation, too, as for forces."""

    def loss(self, batch):
        x, y = batch
        with torch.enable_grad():
            x = x.clone().requires_grad_()
            energy = self.model(x)
            [force] = torch.autograd.grad(energy.sum(), x, create_graph=self.trainer.training)
        return F.cross_entropy(energy, y) + 0.1 * force.pow(2).mean()


# Optimization


class ByHand(Plain):
    def __init__(self):
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch, batch_idx):
        optimizer = self.optimizers()
        loss = self.loss(batch)
        optimizer.zero_grad()
        self.manual_backward(loss)
        self.clip_gradients(optimizer, 1.0, "norm")
        optimizer.step()
        self.log("train_loss", loss)
        return {"loss": loss.detach()}


class TwoOptimizers(ByHand):
    """The model against a critic, as in adversarial training."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.critic = nn.Linear(CLASSES, 1)

    def training_step(self, batch, batch_idx):
        first, second = self.optimizers()
        self.toggle_optimizer(first)
        logits = self.model(batch[0])
        loss = F.cross_entropy(logits, batch[1]) - 0.1 * self.critic(logits).mean()
        first.zero_grad()
        self.manual_backward(loss)
        first.step()
        self.untoggle_optimizer(first)
        self.toggle_optimizer(second)
        second.zero_grad()
        self.manual_backward(self.critic(logits.detach()).pow(2).mean())
        second.step()
        self.untoggle_optimizer(second)
        return {"loss": loss.detach()}

    def configure_optimizers(self):
        return (
            torch.optim.Adam(self.model.parameters(), 0.01),
            torch.optim.SGD(self.critic.parameters(), 0.01),
        )


class ScheduledBySteps(Plain):
    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), 0.1, momentum=0.9, nesterov=True)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, 0.2, total_steps=self.trainer.estimated_stepping_batches
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class OnPlateau(Plain):
    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), 0.1)
        schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, threshold=9.0)
        return [optimizer], [{"scheduler": schedule, "monitor": "val_loss"}]


class ParameterGroups(Plain):
    def configure_optimizers(self):
        groups = {True: [], False: []}
        for name, parameter in self.named_parameters():
            groups[name.endswith("weight")].append(parameter)
        return torch.optim.AdamW(
            [{"params": groups[True], "weight_decay": 0.1}, {"params": groups[False], "lr": 0.02}],
            0.01,
        )


class OwnStep(Plain):
    """A warm-up written into the optimizer's step, and a closure that is called by hand."""

    def optimizer_step(self, epoch, batch_idx, optimizer, optimizer_closure=None):
        for group in optimizer.param_groups:
            group["lr"] = 0.01 * min(1.0, (self.trainer.global_step + 1) / 4)
        optimizer.step(closure=optimizer_closure)

    def optimizer_zero_grad(self, epoch, batch_idx, optimizer):
        optimizer.zero_grad()


class Lbfgs(Plain):
    """An optimizer that runs the step several times."""

    def configure_optimizers(self):
        return torch.optim.LBFGS(self.parameters(), 0.1, max_iter=3)


class ClipsItself(Plain):
    def configure_gradient_clipping(self, optimizer, gradient_clip_val, gradient_clip_algorithm):
        self.clip_gradients(optimizer, gradient_clip_val=0.1, gradient_clip_algorithm="value")

    def on_after_backward(self):
        for parameter in self.model.fc.parameters():
            parameter.grad.mul_(0.5)


class Anneals(Plain):
    """A weight that depends on the epoch and the step, and noise of three generators."""

    def training_step(self, batch, batch_idx):
        x, y = batch
        noise = torch.randn_like(x) * random.random() * float(np.random.rand())
        loss = F.cross_entropy(self.model(x + noise), y)
        share = self.global_step / self.trainer.num_training_batches
        return loss * (1 + self.current_epoch + share)


class Mixup(Plain):
    def training_step(self, batch, batch_idx):
        x, y = batch
        share = float(np.random.beta(0.4, 0.4))
        order = torch.randperm(len(x))
        logits = self.model(share * x + (1 - share) * x[order])
        return share * F.cross_entropy(logits, y) + (1 - share) * F.cross_entropy(logits, y[order])


# What a module holds


class Distils(Plain):
    """Has a frozen teacher, and a criterion with weights that learn."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(2)
        self.teacher = nn.Sequential(nn.Linear(FEATURES, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))
        self.teacher.requires_grad_(False).eval()
        self.log_scale = nn.Parameter(torch.zeros(()))

    def on_train_start(self):
        self.teacher.eval()

    def loss(self, batch):
        x, y = batch
        logits = self.model(x)
        soft = F.kl_div(logits.log_softmax(1), self.teacher(x).softmax(1), reduction="batchmean")
        return F.cross_entropy(logits * self.log_scale.exp(), y) + soft


class MovingAverage(pl.Callback):
    """Keeps an exponential moving average of the weights."""

    def on_train_start(self, trainer, module):
        self.average = copy.deepcopy(module.state_dict())

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        for name, value in module.state_dict().items():
            if value.is_floating_point():
                self.average[name].lerp_(value, 0.1)
        module.log("train_ema", sum(v.float().abs().sum() for v in self.average.values()))

    def state_dict(self):
        return {"average": self.average}

    def load_state_dict(self, state):
        self.average = state["average"]


class ConfiguresCallbacks(Plain):
    def configure_callbacks(self):
        return [MovingAverage()]


class ConfiguresModel(Plain):
    """Makes a head of its own when the trainer asks for it, and class weights in setup."""

    def __init__(self):
        super().__init__()
        self.head = None

    def configure_model(self):
        if self.head is None:
            torch.manual_seed(3)
            self.head = nn.Linear(CLASSES, CLASSES)

    def setup(self, stage):
        self.class_weights = torch.tensor([1.0, 2.0, 0.5])

    def loss(self, batch):
        x, y = batch
        return F.cross_entropy(self.head(self.model(x)), y, self.class_weights)


class SavesHyperparameters(Plain):
    def __init__(self, lr=0.02, widths=(8, 8)):
        super().__init__()
        self.save_hyperparameters()

    def configure_optimizers(self):
        return torch.optim.RMSprop(self.parameters(), self.hparams.lr)


class SavesNumpy(Plain):
    """Saves objects that are not plain with its checkpoints."""

    def __init__(self):
        super().__init__()
        self.seen = np.zeros(CLASSES)

    def training_step(self, batch, batch_idx):
        self.seen = self.seen + np.bincount(batch[1].numpy(), minlength=CLASSES)
        return self.loss(batch) * float(1 + self.seen[0] / 100)

    def on_save_checkpoint(self, checkpoint):
        checkpoint["seen"] = self.seen

    def on_load_checkpoint(self, checkpoint):
        self.seen = checkpoint["seen"]


class FreezesNorms(Plain):
    """Keeps BatchNorm in evaluation mode while it trains."""

    def train(self, mode=True):
        super().train(mode)
        if getattr(self, "_model", None) is not None:
            for module in self.model.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return self

    def on_train_start(self):
        self.train()


class CountsBatches(Plain):
    """Plain attributes that a step moves on, and that its result depends on."""

    def __init__(self):
        super().__init__()
        self.batches, self.history = 0, {"val": []}

    def training_step(self, batch, batch_idx):
        self.batches += 1
        return self.loss(batch) * (1 + 0.1 * self.batches)

    def validation_step(self, batch, batch_idx):
        loss = self.loss(batch)
        self.history["val"].append(float(loss))
        self.log("val_loss", loss)
        self.log("val_count", float(len(self.history["val"])), on_step=False, on_epoch=True)

    def on_validation_epoch_start(self):
        self.history["val"] = []

    def on_save_checkpoint(self, checkpoint):
        checkpoint["batches"] = self.batches

    def on_load_checkpoint(self, checkpoint):
        self.batches = checkpoint["batches"]


class OnlyTrains(LightningModule):
    """Is not validated."""

    def training_step(self, batch, batch_idx):
        return F.cross_entropy(self.model(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), 0.01)


class HoldsData(Plain):
    """Has the loaders inside."""

    def train_dataloader(self):
        return data.loaders()["train_dataloaders"]

    def val_dataloader(self):
        return data.loaders()["val_dataloaders"]


class SaysItself(Plain):
    """Decides itself what is in which mode, and computes something else in validation."""

    validates = False

    def on_validation_model_eval(self):
        self.validates = True
        self.model.eval()

    def on_validation_model_train(self):
        self.validates = False
        self.model.train()

    def loss(self, batch):
        return super().loss(batch) * (3 if self.validates else 1)


class OwnBackward(Plain):
    def backward(self, loss):
        (2 * loss + 0.01 * self.model.fc.weight.pow(2).sum()).backward()


class Supervised(SupervisedLearningModule):
    """Derived from NNI's own."""

    def __init__(self, export_onnx=False):
        super().__init__(
            nn.CrossEntropyLoss, {"acc": accuracy()}, 0.01, optimizer=torch.optim.SGD,
            export_onnx=export_onnx,
        )  # fmt: skip


class WritesOnnx(Supervised):
    """Writes the model in its first validation, as NNI's does by default."""

    def __init__(self):
        super().__init__(Path(tempfile.mkdtemp()) / "model.onnx")


def nnis_classification():
    return ClassificationModule(learning_rate=0.01, num_classes=CLASSES)


def nnis_regression():
    return RegressionModule(learning_rate=0.01, weight_decay=1e-4)
