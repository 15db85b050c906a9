"""Run a row of the table in plain Lightning, with nothing of nni_magic, and with ours."""

from __future__ import annotations

import contextlib
import copy
import random

import numpy as np
import pytorch_lightning as pl
import torch
from nni.nas.evaluator.pytorch import Lightning, Trainer
from spaces import set_path, supernet
from training import Stop, make, train

EPOCHS = 2
QUIET = {
    "logger": False, "enable_checkpointing": False, "enable_progress_bar": False,
    "enable_model_summary": False, "accelerator": "cpu", "max_epochs": EPOCHS,
    "log_every_n_steps": 1, "num_sanity_val_steps": 0,
}  # fmt: skip
DATA = ("train_dataloaders", "val_dataloaders", "datamodule")


def seed_all(number):
    torch.manual_seed(number)
    np.random.seed(number)
    random.seed(number)


class Seeded(pl.Callback):
    """Makes the randomness of a batch depend on its place alone."""

    def __init__(self):
        self.batches = 0

    def on_train_epoch_start(self, trainer, module):
        seed_all(1000 + trainer.current_epoch)

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        seed_all(trainer.fit_loop.total_batch_idx)

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        seed_all(500 + trainer.fit_loop.total_batch_idx)


class Paths(pl.Callback):
    """Sets NNI's path before every batch."""

    def __init__(self, children):
        self.children = list(children)

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        set_path(module.model, self.children[trainer.fit_loop.total_batch_idx])


class Watch(pl.Callback):
    """Remembers what every batch and every validation gave; saves after a batch and stops."""

    def __init__(self, stop_after=None, path=None):
        self.stop_after, self.path = stop_after, path
        self.losses, self.logged, self.children, self.validations = [], [], [], []

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        loss = outputs.get("loss") if outputs else None
        self.losses.append(float("nan") if loss is None else float(loss))
        self.logged.append({k: float(v) for k, v in trainer.callback_metrics.items()})
        self.children.append(getattr(module, "child", None))
        if len(self.losses) == self.stop_after:
            trainer.save_checkpoint(self.path)
            raise Stop

    def on_validation_end(self, trainer, module):
        self.validations.append({k: float(v) for k, v in trainer.callback_metrics.items()})


class Returned(pl.Callback):
    """The mean of what validation steps give."""

    def __init__(self):
        self.sums = []

    def on_validation_batch_end(self, trainer, module, outputs, batch, *args):
        if isinstance(outputs, torch.Tensor):
            self.sums.append((float(outputs) * len(batch[0]), len(batch[0])))

    def mean(self):
        return sum(a for a, _ in self.sums) / max(1, sum(b for _, b in self.sums))


def trainer_options(row, *callbacks):
    own = dict(row.trainer)
    more = own.pop("callbacks", list)()
    return {**QUIET, **own, "callbacks": [*more, *callbacks]}


def evaluator(row, *callbacks):
    """What the user gives to NNI."""
    return Lightning(row.module(), Trainer(**trainer_options(row, *callbacks)), **row.data())


def new_space(row):
    torch.manual_seed(7)
    return row.space()


def ours(row, name, watch, checkpoint=None, **settings):
    """Swap one of our strategies in; gives the strategy and the user's evaluator."""
    common = {
        "metric": row.metric, "mode": row.mode, "validation_batches": 10, "calibration_batches": 1,
        "warmup_epochs": 1, **row.settings, **settings,
    }  # fmt: skip
    if name in ("magic_a", "magic_at"):  # of the others no default is given
        common = {"align_every": None, **row.aligning, **common}
    else:
        del common["warmup_epochs"]
    made = evaluator(row, Seeded(), watch)
    strategy = train(make(name, **common), new_space(row), made, checkpoint)
    return strategy, made


def plain_fit(row, children, watch, **options):
    """Train a supernet of NNI in plain Lightning, its path set to these children."""
    module = row.module()
    module.set_model(supernet(new_space(row)))
    own = trainer_options(row, Seeded(), Paths(children), watch)
    given = row.data()
    with contextlib.suppress(Stop):
        pl.Trainer(**{**own, **options}).fit(module, **given)
    return module


def plain_metrics(row, model, trained=None):
    """What plain Lightning says of a model, within the module of a training."""
    module = row.module()
    module.set_model(copy.deepcopy(model))
    returned = Returned()
    trainer = pl.Trainer(**trainer_options(row, returned))
    if trained is not None:
        module.configure_model()
        own = {k: v for k, v in trained.state_dict().items() if not k.startswith("_model.")}
        module.load_state_dict(own, strict=False)
    given = {k: v for k, v in row.data().items() if k != "train_dataloaders"}
    trainer.validate(module, verbose=False, **{k.replace("val_", ""): v for k, v in given.items()})
    metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
    return {**metrics, None: returned.mean()}


def plain_score(row, model, trained=None):
    return plain_metrics(row, model, trained)[row.metric]


def on_path(net, sample):
    set_path(net, sample)
    return net
