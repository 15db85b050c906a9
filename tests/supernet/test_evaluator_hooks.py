"""Every hook of Lightning reaches the evaluator as often as without a strategy."""

import inspect
from collections import Counter

import pytest
import pytorch_lightning as pl
import torch
from nni.nas.evaluator.pytorch import DataLoader, Lightning, LightningModule, Trainer
from pytorch_lightning.core import hooks
from pytorch_lightning.utilities.model_helpers import is_overridden
from spaces import FlatSpace
from torch import nn
from torch.utils.data import TensorDataset
from training import QUIET, DictModule, Tokens, bert, make, train

from nni_magic.supernet.evaluator_hooks import EvaluatorHooks

CHILD = {f"layer_{n}": "ffn" for n in range(1, 5)}
EPOCHS, BATCHES = 2, 4

OF_THE_MODULE = {  # of LightningModule itself; its hook classes have the others
    "backward", "configure_callbacks", "configure_gradient_clipping", "configure_optimizers",
    "lr_scheduler_step", "optimizer_step", "optimizer_zero_grad",
}  # fmt: skip
# ``configure_sharded_model`` is an old name of ``configure_model``; a module has one of them.
HOOKS = OF_THE_MODULE | {
    name
    for owner in vars(hooks).values()
    if inspect.isclass(owner) and owner.__module__ == hooks.__name__
    for name, member in vars(owner).items()
    if inspect.isfunction(member) and name not in ("__init__", "configure_sharded_model")
}
OFTENER = {
    "on_before_batch_transfer": "the batches on which children are scored are moved, too",
    "transfer_batch_to_device": "the same",
    "on_after_batch_transfer": "the same",
    "on_validation_start": "a score is of a validation of its own",
    "on_validation_epoch_start": "the same",
    "on_validation_batch_start": "the same; and it is called for every child of the panel",
    "on_validation_batch_end": "the same",
    "on_validation_epoch_end": "a score is of a validation of its own",
    "on_validation_end": "the same",
    "on_validation_model_eval": "the same; once for several children that are scored together",
    "on_validation_model_train": "the same",
}
"""Hooks that reach the evaluator more often than without a strategy, and why."""


class Regression(LightningModule):
    """SGD on the mean squared error."""

    rate = 0.1

    def training_step(self, batch, batch_idx):
        return nn.functional.mse_loss(self.model(batch[0]), batch[1])

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", self.training_step(batch, batch_idx))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), self.rate)


def regression(module):
    generator = torch.Generator().manual_seed(1)
    data = TensorDataset(*(torch.randn(16, 4, generator=generator) for _ in range(2)))
    return Lightning(
        module, Trainer(max_epochs=1, **QUIET),
        train_dataloaders=DataLoader(data, batch_size=4),
        val_dataloaders=DataLoader(data, batch_size=16),
    )  # fmt: skip


class Scheduled(DictModule):
    def configure_optimizers(self):
        optimizer = super().configure_optimizers()
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1)]


def counting(calls):
    """An evaluator's module that counts the calls of all its hooks."""

    class Counting(Scheduled):
        pass

    def counted(name):
        def hook(self, *args, **kwargs):
            calls[name] += 1
            return getattr(super(Counting, self), name)(*args, **kwargs)

        return hook

    for name in HOOKS:
        setattr(Counting, name, counted(name))
    return Counting()


def loader():
    return DataLoader(Tokens(), batch_size=6)


def trained_alone(path):
    """Calls of the hooks under plain Lightning, of a run that is stopped and resumed."""
    module = counting(calls := Counter())
    module.set_model(bert().freeze(CHILD))
    for epochs in (1, EPOCHS):
        checkpoint = {} if epochs == 1 else {"ckpt_path": path, "weights_only": False}
        trainer = pl.Trainer(max_epochs=epochs, **QUIET)
        trainer.fit(module, loader(), loader(), **checkpoint)
        trainer.save_checkpoint(path)
    return calls


def trained_by(name, path):
    """Calls of the hooks of the same evaluator under a strategy."""
    module = counting(calls := Counter())
    for epochs in (1, EPOCHS):
        evaluator = Lightning(
            module, Trainer(max_epochs=epochs, **QUIET),
            train_dataloaders=loader(), val_dataloaders=loader(),
        )  # fmt: skip
        settings = {} if name == "spos" else {"warmup_epochs": 0}
        train(make(name, **settings), bert(), evaluator, None if epochs == 1 else path)
        evaluator.trainer.save_checkpoint(path)
    return calls


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return trained_alone(tmp_path_factory.mktemp("alone") / "last.ckpt")


@pytest.fixture(scope="module", params=["spos", "magic_at"])
def under_a_strategy(request, tmp_path_factory):
    return trained_by(request.param, tmp_path_factory.mktemp("strategy") / "last.ckpt")


def test_hooks_are_called_as_often_as_without_a_strategy(alone, under_a_strategy):
    same = HOOKS - OFTENER.keys()
    assert {name: under_a_strategy[name] for name in same} == {name: alone[name] for name in same}
    called = {name for name in same if alone[name]}
    assert len(called) >= 23  # of training, optimizer and checkpoint
    assert alone["optimizer_step"] == alone["backward"] == EPOCHS * BATCHES


def test_differences_are_those_documented(alone, under_a_strategy):
    """An entry that is not needed any more is to be taken off its list."""
    assert not {name for name in HOOKS if under_a_strategy[name] < alone[name]}
    assert {name for name in HOOKS if under_a_strategy[name] > alone[name]} == OFTENER.keys()


def test_the_wrapper_is_what_the_evaluator_is():
    module = counting(Counter())
    wrapper = EvaluatorHooks(module)
    assert all(is_overridden(name, wrapper) for name in HOOKS)
    plain = LightningModule()
    wrapper = EvaluatorHooks(plain)
    own = {"configure_optimizers", "on_save_checkpoint"}
    assert {name for name in HOOKS if is_overridden(name, wrapper)} == own


class Doubling(Regression):
    """Goes back from twice the loss."""

    def backward(self, loss, *args, **kwargs):
        super().backward(2 * loss, *args, **kwargs)


@pytest.mark.parametrize("name", ["spos", "twins", "twins_by_turn"])
def test_backward_is_the_evaluators(name):
    """With SGD twice the loss is twice the learning rate."""
    nets = []
    for module, rate in ((Doubling(), 0.05), (Regression(), 0.1)):
        torch.manual_seed(5)
        module.rate = rate
        nets.append(FlatSpace())
        train(make(name), nets[-1], regression(module))
    before = nets[0].state_dict()
    assert before.keys() == nets[1].state_dict().keys()
    for key, weights in nets[1].state_dict().items():
        torch.testing.assert_close(before[key], weights, msg=key)


class Replaced(pl.Callback):
    pass


class Own(Replaced):
    """Given by the evaluator's module, in place of the trainer's of a base class."""


class Reader(Scheduled):
    """Logs in every kind of hook, and notes what it reads on itself."""

    def __init__(self, rate=0.5, kind=nn.ReLU):
        super().__init__()
        self.save_hyperparameters()
        self.prepare_data_per_node = False
        self.seen = []

    def log(self, name, value, **options):
        super().log(f"own/{name}", value, **options)

    def note(self, hook):
        optimizers, schedulers = self.optimizers(), self.lr_schedulers()
        self.seen.append((
            hook, self.current_epoch, self.global_step, self.device, self.dtype,
            self.trainer.max_epochs, type(optimizers).__name__,
            type(schedulers), self.hparams.rate, self.global_rank,
            self.all_gather(torch.tensor(2.0)).item(), type(self.logger), self._current_fx_name,
            [type(c) for c in self.trainer.callbacks], self.strict_loading,
        ))  # fmt: skip

    def configure_callbacks(self):
        return Own()

    def training_step(self, batch, batch_idx):
        self.note("training_step")
        self.log_dict({"a": 1.0 + batch_idx, "b": 2.0})
        self.log("on_both", float(batch_idx), on_epoch=True)
        return super().training_step(batch, batch_idx)

    def on_before_zero_grad(self, optimizer):
        self.log("zeroed", 3.0)

    def on_train_epoch_end(self):
        self.note("on_train_epoch_end")
        self.log("ended", 4.0)

    def on_validation_epoch_end(self):
        self.log("validated", 6.0)


class Memory(pl.loggers.logger.Logger):
    """Keeps what it is given."""

    name, version = "memory", "0"

    def __init__(self):
        super().__init__()
        self.metrics, self.settings = [], {}

    def log_metrics(self, metrics, step=None):
        kept = {k: float(v) for k, v in metrics.items() if "loss" not in k and "supernet/" not in k}
        if kept:
            self.metrics.append((kept, step))

    def log_hyperparams(self, params, *args, **kwargs):
        self.settings.update(params)


def read_by(fit, path):
    module, logger = Reader(), Memory()
    options = {**QUIET, "logger": logger, "log_every_n_steps": 1, "max_epochs": 2}
    trainer = Trainer(**options, callbacks=[Replaced()])
    fit(module, trainer)
    trainer.save_checkpoint(path)
    kept = torch.load(path, weights_only=True)["hyper_parameters"] if fit is by_strategy else None
    logged = {
        k: float(v)
        for k, v in trainer.callback_metrics.items()
        if "loss" not in k and "supernet/" not in k
    }
    return module.seen, logger.metrics, logger.settings, logged, kept


def by_strategy(module, trainer):
    evaluator = Lightning(
        module, trainer, train_dataloaders=loader(), val_dataloaders=loader()
    )
    train(make("spos"), bert(), evaluator)


def by_lightning(module, trainer):
    module.set_model(bert().freeze(CHILD))
    trainer.fit(module, loader(), loader())


def test_what_the_evaluator_reads_and_logs_is_what_lightning_gives(tmp_path):
    path = tmp_path / "last.ckpt"
    *alone, _ = read_by(by_lightning, path)
    *ours, kept = read_by(by_strategy, path)
    for one, other in zip(ours, alone, strict=True):
        assert one == other
    assert {"own/a", "own/on_both_epoch", "own/ended", "own/validated"} <= ours[3].keys()
    assert kept == {"rate": 0.5}  # a class would keep the checkpoint from being read safely
    assert ours[2] == {"rate": 0.5, "kind": nn.ReLU}
