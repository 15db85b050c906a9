"""What belongs to the evaluator acts outside of fit as in Lightning's own validation."""

import copy
import multiprocessing

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from nni.nas.evaluator.pytorch import DataLoader, Lightning, LightningModule, Trainer
from pytorch_lightning.plugins.precision import Precision
from scores import images, trained
from spaces import ConvSpace, FlatSpace, supernet
from torch.nn.functional import cross_entropy, mse_loss
from torch.utils.data import TensorDataset
from training import QUIET, make, train

from nni_magic.analysis.gradients import SharedGradients
from nni_magic.children.samples import candidates, random_sample
from nni_magic.search import ChildEvaluator
from nni_magic.supernet.checkpoint import load_supernet
from nni_magic.support.compat import freeze


def rows(seed, n=16):
    generator = torch.Generator().manual_seed(seed)
    return TensorDataset(*(torch.randn(n, 4, generator=generator) for _ in range(2)))


def loader(seed):
    return DataLoader(rows(seed), batch_size=8)


class Plain(LightningModule):
    def training_step(self, batch, batch_idx):
        return mse_loss(self.model(batch[0]), batch[1])

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", self.training_step(batch, batch_idx))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


class Moving(Plain):
    """Changes a batch on its way; each hook in a way of its own."""

    def on_before_batch_transfer(self, batch, dataloader_idx):
        return [part * 2 for part in batch]

    def transfer_batch_to_device(self, batch, device, dataloader_idx):
        batch = super().transfer_batch_to_device(batch, device, dataloader_idx)
        return [batch[0], batch[1] + 1]

    def on_after_batch_transfer(self, batch, dataloader_idx):
        return [batch[0] ** 2, batch[1]]


class SetUp(Plain):
    """Has what it needs only once Lightning has called its hooks."""

    def prepare_data(self):
        self.prepared = 3.0

    def setup(self, stage):
        self.shift = self.prepared + 1

    def configure_model(self):
        self.scale = torch.nn.Linear(4, 4)
        torch.nn.init.constant_(self.scale.weight, 0.25)
        torch.nn.init.zeros_(self.scale.bias)

    def training_step(self, batch, batch_idx):
        return mse_loss(self.scale(self.model(batch[0])) + self.shift, batch[1])


class Data(pl.LightningDataModule):
    """Data that exist once they are set up, and are changed on their way."""

    def prepare_data(self):
        self.seed = 1

    def setup(self, stage):
        self.train, self.held_out = loader(self.seed), loader(self.seed + 1)

    def train_dataloader(self):
        return self.train

    def val_dataloader(self):
        return self.held_out

    def on_after_batch_transfer(self, batch, dataloader_idx):
        return [batch[0] - 1, batch[1]]


def evaluator(module, data=False, **trainer):
    given = {"datamodule": Data()} if data else {
        "train_dataloaders": loader(1), "val_dataloaders": loader(2),
    }  # fmt: skip
    return Lightning(module, Trainer(max_epochs=1, **{**QUIET, **trainer}), **given)


def validated(module, child, data=False, **trainer):
    """Lightning's own validation of a stand-alone child."""
    module.set_model(child)
    given = {"datamodule": Data()} if data else {"dataloaders": loader(2)}
    trainer = pl.Trainer(**{**QUIET, **trainer})
    return trainer.validate(module, verbose=False, **given)[0]["val_loss"]


GUESTS = [
    (Plain, False, {}), (Moving, False, {}), (SetUp, False, {}), (Plain, True, {}),
    (Moving, True, {}), (SetUp, True, {}),
    *((Plain, False, {"precision": p}) for p in ("64-true", "bf16-true", "bf16-mixed", "16-true")),
    (Moving, True, {"precision": "64-true"}),
]  # fmt: skip


@pytest.fixture
def space():
    torch.manual_seed(2)
    return FlatSpace()


def children_of(space):
    return [random_sample(candidates(space), np.random.default_rng(seed)) for seed in range(3)]


@pytest.mark.parametrize(("module", "data", "trainer"), GUESTS)
def test_scores_outside_of_fit_are_lightnings(space, module, data, trainer):
    net = supernet(copy.deepcopy(space))
    before = {name: weight.clone() for name, weight in net.state_dict().items()}
    children = children_of(space)
    evaluate = ChildEvaluator(net, evaluator(module(), data, **trainer))
    scores = evaluate(children)
    alone = [validated(module(), copy.deepcopy(freeze(net, c)), data, **trainer) for c in children]
    assert scores == pytest.approx(alone, rel=1e-6)
    calls = evaluate.calls
    assert evaluate(children) == scores
    assert evaluate.calls == calls  # nothing has changed that is scored
    for name, weight in net.state_dict().items():
        assert weight.dtype == before[name].dtype
        assert torch.equal(weight, before[name])


@pytest.mark.parametrize(("module", "data", "trainer"), GUESTS[:9])
@pytest.mark.parametrize("name", ["spos", "magic_at"])
def test_scores_of_a_fit_are_lightnings(space, module, data, trainer, name):
    given, guest = evaluator(module(), data, **trainer), module()
    settings = {} if name == "spos" else {"warmup_epochs": 0}
    strategy = make(name, **settings)
    train(strategy, space, given)
    scored = strategy.oneshot_module.best_children()
    for attribute in ("prepared", "shift", "scale"):
        if hasattr(given.module, attribute):
            setattr(guest, attribute, copy.deepcopy(getattr(given.module, attribute)))
    if module is SetUp:
        guest.configure_model = lambda: None  # with the weights that were trained
    for child, score in scored[:3]:
        alone = copy.deepcopy(freeze(strategy.supernet, child))
        assert score == pytest.approx(validated(guest, alone, data, **trainer), rel=1e-6)


@pytest.mark.parametrize("precision", ["64-true", "bf16-true"])
def test_a_loaded_supernet_has_the_precision_of_its_training(space, precision, tmp_path):
    given = evaluator(Plain(), precision=precision)
    strategy = make("spos")
    train(strategy, copy.deepcopy(space), given)
    given.trainer.save_checkpoint(tmp_path / "last.ckpt")
    net = load_supernet(tmp_path / "last.ckpt", space)
    for name, weight in strategy.supernet.state_dict().items():
        assert torch.equal(net.state_dict()[name], weight), name
        assert net.state_dict()[name].dtype == weight.dtype
    best = strategy.oneshot_module.best_children()
    scores = ChildEvaluator(net, evaluator(Plain(), precision=precision), n_batches=2)(
        [child for child, _ in best]
    )
    assert scores == pytest.approx([score for _, score in best], rel=1e-6)


@pytest.mark.parametrize("data", [False, True])
def test_gradients_are_those_of_batches_as_lightning_gives_them(space, data):
    net, batch = supernet(copy.deepcopy(space)), next(iter(loader(3)))
    choices = candidates(space)
    children = [{label: c[0] for label, c in choices.items()}]
    children.append({**children[0], "block_2": choices["block_2"][1]})
    found = SharedGradients(net, evaluator(Moving(), data), [batch])("block_1", children)
    x, y = 2 * batch[0], 2 * batch[1] + 1
    x = x - 1 if data else x**2  # the DataModule's hook goes before the module's
    for child, gradient in zip(children, found, strict=True):
        alone = copy.deepcopy(freeze(net, child))
        mse_loss(alone(x), y).backward()
        of_block = [p.grad.flatten() for p in alone.blocks[0].parameters()]
        torch.testing.assert_close(gradient.float(), torch.cat(of_block))


@pytest.mark.parametrize("precision", ["32-true", "64-true"])
def test_batchnorm_is_calibrated_on_the_data_of_a_datamodule(precision):
    """With BatchNorm, whose child is then in the trainer's precision, with its statistics."""

    class Images(pl.LightningDataModule):
        def setup(self, stage):
            self.data = images()

        def train_dataloader(self):
            return DataLoader(self.data, batch_size=8)

        val_dataloader = train_dataloader

        def on_before_batch_transfer(self, batch, dataloader_idx):
            return [batch[0] + 0.5, batch[1]]

    class Classifying(Plain):
        def training_step(self, batch, batch_idx):
            return cross_entropy(self.model(batch[0]), batch[1])

    net, child = trained(ConvSpace), {f"block_{n}": "conv1" for n in range(1, 5)}
    given = Lightning(
        Classifying(), Trainer(max_epochs=1, precision=precision, **QUIET), datamodule=Images()
    )
    evaluate = ChildEvaluator(net, given)
    [score] = evaluate([child])
    alone = evaluate.child(child)
    module = Classifying()
    module.set_model(alone)
    trainer = pl.Trainer(precision=precision, **QUIET)
    found = trainer.validate(module, datamodule=Images(), verbose=False)[0]["val_loss"]
    assert score == pytest.approx(found, rel=1e-6)
    wanted = torch.float64 if precision == "64-true" else torch.float32
    assert {parameter.dtype for parameter in alone.parameters()} == {wanted}
    assert {p.dtype for p in net.parameters()} == {torch.float32}


def test_a_datamodule_is_the_users_again_after_a_search(space):
    data = Data()
    given = Lightning(Plain(), Trainer(max_epochs=1, **QUIET), datamodule=data)
    train(make("spos"), space, given)
    assert not {"train_dataloader", "val_dataloader"} & vars(data).keys()


@pytest.mark.parametrize("launcher", ["ddp_fork", "ddp_spawn", "ddp_notebook"])
def test_launchers_of_other_processes_are_refused_before_any_is_started(space, launcher):
    given = evaluator(Plain(), strategy=launcher, devices=2)
    message = "strategy of the trainer is one that trains in other processes"
    for refused in (
        lambda: train(make("spos"), copy.deepcopy(space), given),
        lambda: train(make("magic_at"), copy.deepcopy(space), given),
        lambda: ChildEvaluator(space, given),
        lambda: SharedGradients(space, given, list(loader(1))),
    ):
        with pytest.raises(ValueError, match=message):
            refused()
    assert not multiprocessing.active_children()
    assert given.trainer.state.status == "initializing"


def test_a_precision_that_replaces_layers_is_refused(space):
    class Replacing(Precision):
        def convert_module(self, module):
            return module

    given = evaluator(Plain(), plugins=[Replacing()])
    with pytest.raises(ValueError, match="is that of Replacing, which replaces layers"):
        ChildEvaluator(space, given)
