"""Steps and models that write into their batch, or take other arguments: nothing else changes."""

import functools

import pytest
import pytorch_lightning as pl
import torch
from nni.nas.evaluator.pytorch import DataLoader, Lightning, LightningModule, Trainer
from spaces import ChainSpace, ConvSpace, set_path, supernet
from torch import nn
from training import QUIET, images, make, train

from nni_magic.analysis.during_training import LogInterference
from nni_magic.analysis.gradients import SharedGradients

torch.set_num_threads(1)


class Plain(LightningModule):
    """Writes into nothing."""

    def loss(self, x, labels):
        return nn.functional.cross_entropy(self.model(x), labels)

    def training_step(self, batch, batch_idx):
        return self.loss(*batch)

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", self.loss(*batch))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Popping(Plain):
    """Takes its batch apart, and knows nothing of a number."""

    def training_step(self, batch):
        return self.loss(labels=batch.pop(), x=batch[0])

    def validation_step(self, batch):
        self.log("val_loss", self.loss(labels=batch.pop(), x=batch[0]))


class Writing(Plain):
    """Spoils its batch when it has been used, and takes whatever there is."""

    def training_step(self, *args):
        [x, labels], batch_idx = args
        loss = self.loss(x.clone(), labels)
        x.zero_()
        assert isinstance(batch_idx, int)
        return loss

    def validation_step(self, *args):
        [x, labels], _ = args
        self.log("val_loss", self.loss(x, labels))
        labels.zero_()


def timed(step):
    @functools.wraps(step)
    def run(*args, **kwargs):
        return step(*args, **kwargs)

    return run


class Decorated(Popping):
    """Hides its signature, but for what ``functools.wraps`` leaves."""

    training_step = timed(Popping.training_step)
    validation_step = timed(Popping.validation_step)


class Named(Plain):
    """Gives its arguments other names."""

    def training_step(self, data, number):
        return super().training_step(data, number)

    def validation_step(self, data, number, dataloader_idx=0):
        super().validation_step(data, number)


class OutOfPlace(ChainSpace):
    def forward(self, x, scale=None):
        return super().forward(3 * x, scale)


class InPlace(ChainSpace):
    def forward(self, x, scale=None):
        return super().forward(x.mul_(3), scale)


class Record(pl.Callback):
    """Children and losses of training, and the mean of every validation."""

    def __init__(self):
        self.children, self.losses, self.validated = [], [], []

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        self.children.append(getattr(module, "child", None))
        self.losses.append(outputs["loss"].item())

    def on_validation_end(self, trainer, module):
        self.validated.append(trainer.callback_metrics["val_loss"].item())


def lightning(module, callbacks=(), epochs=3):
    return Lightning(
        module, Trainer(max_epochs=epochs, callbacks=list(callbacks), **QUIET),
        DataLoader(images(24), batch_size=8), DataLoader(images(20), batch_size=8),
    )  # fmt: skip


def run(name, space, evaluator, callbacks=()):
    torch.manual_seed(0)
    record = Record()
    strategy = train(make(name), space(), lightning(evaluator(), [record, *callbacks]))
    scores = [child.score for child in strategy.oneshot_module.best_children()]
    weights = strategy.oneshot_module.model.state_dict()
    return record, scores, weights


def check_same(found, expected):
    (record, scores, weights), (other, other_scores, other_weights) = found, expected
    assert record.children == other.children
    assert record.losses == pytest.approx(other.losses, rel=1e-6)
    assert record.validated == pytest.approx(other.validated, rel=1e-6)
    assert scores == pytest.approx(other_scores, rel=1e-6)
    for key, value in other_weights.items():
        torch.testing.assert_close(weights[key], value, rtol=1e-6, atol=1e-7)


@functools.cache
def plain_run(name, space):
    return run(name, space, Plain)


@pytest.mark.parametrize("name", ["spos", "magic_at", "twins"])
@pytest.mark.parametrize("evaluator", [Popping, Writing, Decorated, Named])
def test_steps_that_differ_in_form_alone_train_and_score_the_same(evaluator, name):
    check_same(run(name, ConvSpace, evaluator), plain_run(name, ConvSpace))


@pytest.mark.parametrize("name", ["spos", "magic_a", "magic_at", "twins"])
@pytest.mark.parametrize("evaluator", [Plain, Popping])
def test_a_model_that_writes_into_its_input_is_trained_and_scored_the_same(evaluator, name):
    check_same(run(name, InPlace, evaluator), plain_run(name, OutOfPlace))


@pytest.mark.parametrize("evaluator", [Popping, Writing, Decorated, Named])
@pytest.mark.parametrize("space", [ConvSpace, InPlace])
def test_training_is_that_of_plain_lightning_on_the_same_paths(space, evaluator):
    found, _, weights = run("spos", space, evaluator)
    torch.manual_seed(0)
    net, module, children = supernet(space()), evaluator(), iter(found.children)

    class Follow(pl.Callback):
        def on_train_batch_start(self, trainer, module, batch, batch_idx):
            set_path(module.model, next(children))

    module.set_model(net)
    record, loader = Record(), lightning(module).train_dataloaders
    torch.manual_seed(0)
    pl.Trainer(max_epochs=3, callbacks=[Follow(), record], **QUIET).fit(module, loader)
    assert found.losses == pytest.approx(record.losses, rel=1e-6)
    for key, value in net.state_dict().items():
        torch.testing.assert_close(weights[key], value, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(("space", "like"), [(ConvSpace, ConvSpace), (InPlace, OutOfPlace)])
@pytest.mark.parametrize("evaluator", [Popping, Writing])
def test_gradients_are_those_of_steps_that_write_nothing(evaluator, space, like):
    children = [
        {f"block_{n}": "conv3" if n == other else "conv1" for n in range(1, 5)}
        for other in (2, 3, 4)
    ]
    found = []
    for evaluator_class, space_class in ((evaluator, space), (Plain, like)):
        torch.manual_seed(0)
        evaluator_of = lightning(evaluator_class())
        batches = [list(batch) for batch in evaluator_of.train_dataloaders][:2]
        gradients = SharedGradients(space_class(), evaluator_of, batches)
        found.append([gradients("block_1", children) for _ in range(2)])
    for gradient in (*found[0], found[1][0]):
        torch.testing.assert_close(gradient, found[1][1], rtol=1e-5, atol=1e-8)


class Cosines(pl.Callback):
    def __init__(self):
        self.seen = []

    def on_train_batch_end(self, trainer, *args):
        metrics = trainer.callback_metrics
        self.seen.append(float(metrics.get("interference/adjacent_cosine", torch.tensor(9.0))))


@pytest.mark.parametrize(("space", "like"), [(ConvSpace, ConvSpace), (InPlace, OutOfPlace)])
@pytest.mark.parametrize("evaluator", [Popping, Writing])
def test_interference_is_that_of_steps_that_write_nothing(evaluator, space, like):
    seen = []
    for evaluator_class, space_class in ((evaluator, space), (Plain, like)):
        callbacks = [LogInterference(every_n_steps=2), cosines := Cosines()]
        run("magic_t", space_class, evaluator_class, callbacks)
        seen.append(cosines.seen)
    assert len(set(seen[1])) > 2
    assert seen[0] == pytest.approx(seen[1], rel=1e-5)
