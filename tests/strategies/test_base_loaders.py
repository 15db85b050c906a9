"""Strategies train and validate on several loaders as Lightning does, and go on in mid-epoch."""

import pytest
import pytorch_lightning as pl
import torch
from nni.nas.evaluator.pytorch import DataLoader, Lightning, LightningModule, Trainer
from pytorch_lightning.utilities import CombinedLoader
from spaces import ConvSpace
from torch import nn
from torch.utils.data import IterableDataset
from training import QUIET, Watch, images, make, train

from nni_magic.supernet.loaders import loaders_of_validation

torch.set_num_threads(1)


class Guest(LightningModule):
    """Learns from a batch of several loaders, in any nesting; remembers what it was given."""

    def __init__(self):
        super().__init__()
        self.given = []

    def losses(self, batch):
        if isinstance(batch, dict):
            batch = list(batch.values())
        if isinstance(batch[0], torch.Tensor):
            yield nn.functional.cross_entropy(self.model(batch[0]), batch[1])
        else:
            for part in batch:
                if part is not None:
                    yield from self.losses(part)

    def training_step(self, batch, batch_idx):
        loss = sum(self.losses(batch))
        if not self.given or self.given[-1][0] != self.trainer.global_step:
            leaves = torch.utils._pytree.tree_leaves(batch)
            sums = [leaf.double().sum().item() for leaf in leaves if leaf is not None]
            self.given.append((self.trainer.global_step, batch_idx, sums))
        return loss

    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        self.log("val_loss", sum(self.losses(batch)), batch_size=1)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)


class Stream(IterableDataset):
    """Without a length, in an order that is drawn when an epoch begins."""

    def __iter__(self):
        data = images(24)
        return iter([data[i] for i in torch.randperm(24).tolist()])


def short():
    return DataLoader(images(24), batch_size=8, shuffle=True)


def long():
    return DataLoader(images(56), batch_size=8, shuffle=True)


TRAINING = {
    "list": lambda: [short(), long()],
    "dict": lambda: {"a": short(), "b": long()},
    "nested": lambda: {"a": [short(), long()], "b": short()},
    "without length": lambda: CombinedLoader([DataLoader(Stream(), 8), long()], "max_size"),
    **{
        mode: lambda mode=mode: CombinedLoader({"a": short(), "b": long()}, mode)
        for mode in ("min_size", "max_size", "max_size_cycle")
    },
}  # fmt: skip


def evaluator(training, validation, watch=None, **trainer):
    options = {"max_epochs": 3, "num_sanity_val_steps": 0, **QUIET, **trainer}
    return Lightning(
        Guest(), Trainer(callbacks=[watch] if watch else [], **options),
        train_dataloaders=training, val_dataloaders=validation,
    )  # fmt: skip


def alone(training, **trainer):
    """What Lightning gives the steps of a plain model, with the seed of :func:`train`."""
    guest = evaluator(training, None, **trainer)
    guest.module.set_model(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)))
    torch.manual_seed(0)
    guest.trainer.fit(guest.module, training)
    return guest.module.given


@pytest.mark.parametrize("name", ["spos", "magic_at"])
@pytest.mark.parametrize("kind", TRAINING)
def test_strategy_trains_on_lightnings_batches_and_goes_on_after_a_stop(kind, name, tmp_path):
    def start(watch, checkpoint=None):
        torch.manual_seed(11)
        guest = evaluator(TRAINING[kind](), [long(), short()], watch, val_check_interval=3)
        strategy = train(make(name), ConvSpace(dropout=0), guest, checkpoint)
        return strategy, guest.module.given

    whole = Watch()
    _, given = start(whole)
    assert given == alone(TRAINING[kind]())
    for stop in (2, len(whole.steps) // 2):
        before = Watch(stop, path := tmp_path / f"{stop}.ckpt")
        start(before)
        start(after := Watch(), path)
        assert before.steps + after.steps == whole.steps


@pytest.mark.parametrize("mode", ["min_size", "max_size", "max_size_cycle", "sequential"])
def test_validation_names_its_metrics_as_lightning_does(mode):
    def validation():
        return CombinedLoader([DataLoader(images(20), 8), DataLoader(images(36), 8)], mode)

    guest = evaluator(short(), validation())
    strategy = train(make("spos"), ConvSpace(), guest)
    plain = evaluator(short(), validation())
    plain.module.set_model(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)))
    plain.trainer.fit(plain.module, plain.train_dataloaders, plain.val_dataloaders)
    ours = {n for n in guest.trainer.callback_metrics if not n.startswith("supernet/")}
    assert ours == set(plain.trainer.callback_metrics)
    module = strategy.oneshot_module
    loaders = loaders_of_validation(guest.trainer)
    assert [len(loader) for loader in loaders.flattened] == [3, 5]
    found = 0.0
    for child in module.validation.panel:
        model = module.scorer.child(child)
        found += pl.Trainer(**QUIET).validate(_with(model), validation(), verbose=False)[0][
            "val_loss/dataloader_idx_0" if mode == "sequential" else "val_loss"
        ]
    name = "val_loss/dataloader_idx_0" if mode == "sequential" else "val_loss"
    expected = found / len(module.validation.panel)
    assert guest.trainer.callback_metrics[name].item() == pytest.approx(expected, rel=1e-5)


def _with(model):
    guest = Guest()
    guest.set_model(model)
    return guest


def test_training_on_loaders_one_after_another_is_refused_as_by_lightning():
    guest = evaluator(CombinedLoader([short(), long()], "sequential"), short())
    with pytest.raises(ValueError, match=r"does not support the `CombinedLoader.mode=.seq"):
        train(make("spos"), ConvSpace(), guest)
