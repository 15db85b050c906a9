"""Several training loaders, of every kind: read as by Lightning alone, and resumed in mid-epoch."""

import random

import numpy as np
import pytest
import torch
from noisy import Noisy, draw
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.utilities import CombinedLoader
from torch.utils._pytree import tree_map
from torch.utils.data import DataLoader, IterableDataset

from nni_magic.supernet.replay import Replay, batches_done, resumable
from nni_magic.supernet.resume import RandomState


class Short(Noisy):
    def __len__(self):
        return 5


class Stream(IterableDataset):
    """Noisy, and in an order that is drawn when it begins."""

    def __iter__(self):
        data = Noisy()
        return iter([data[i] for i in torch.randperm(9).tolist()])


class Lazy(IterableDataset):
    """The noise of a row is drawn when it is read."""

    def __iter__(self):
        data = Noisy()
        return (data[i] for i in torch.randperm(9).tolist())


class Batches:
    """No DataLoader: gives three batches in another order every epoch."""

    def __len__(self):
        return 3

    def __iter__(self):
        order = torch.randperm(3).tolist()
        return (torch.tensor([i, torch.rand(1).item()]) for i in order)


class Stateful(DataLoader):
    """Keeps its place and its order by itself, as torchdata's StatefulDataLoader does."""

    place, order, resumed = 0, None, False

    def __iter__(self):
        if not self.resumed:
            self.place, self.order = 0, torch.randperm(6).tolist()
        self.resumed = False
        while self.place < 6:
            self.place += 1
            yield torch.tensor([self.order[self.place - 1], torch.rand(1).item()])
        self.order = None

    def state_dict(self):
        return {"place": self.place, "order": self.order}

    def load_state_dict(self, state):
        self.place, self.order = state["place"], state["order"]
        self.resumed = self.order is not None


def long(**options):
    return DataLoader(Noisy(), 2, **{"shuffle": True, **options})


def short(**options):
    return DataLoader(Short(), 2, **{"shuffle": True, **options})


def sharing():
    generator = torch.Generator().manual_seed(4)
    return [long(generator=generator), short(generator=generator)]


MODES = {
    mode: lambda mode=mode: CombinedLoader({"a": short(), "b": long()}, mode)
    for mode in ("min_size", "max_size", "max_size_cycle")
}
LOADERS = {
    **MODES,
    "one": lambda: long(),
    "list": lambda: [short(), long()],
    "list of one": lambda: [long()],
    "nested": lambda: {"a": [long(), short()], "b": DataLoader(range(2))},
    "one generator for all": sharing,
    "workers": lambda: [long(num_workers=1), short()],
    "no DataLoader": lambda: {"a": Batches(), "b": long()},
    "no DataLoader alone": Batches,
    "without length": lambda: DataLoader(Stream(), 2),
    "without length, read as it goes": lambda: DataLoader(Lazy(), 2),
    "one without length": lambda: CombinedLoader([DataLoader(Stream(), 2), long()], "min_size"),
    "short without length": lambda: [DataLoader(Stream(), 2), long()],
    "with a state": lambda: Stateful(Noisy()),
    "one with a state": lambda: [Stateful(Noisy()), long(), short()],
}


class Recorder(LightningModule):
    """Trains a number; remembers its batches and what a step drew."""

    def __init__(self, loaders, plain=False):
        super().__init__()
        self.loaders, self.plain = loaders, plain
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen = []
        self.replay = Replay()

    def train_dataloader(self):
        if self.plain:
            return self.loaders
        return resumable(self.loaders, lambda: batches_done(self.trainer), self.replay)

    def training_step(self, batch, index):
        numbers = tree_map(lambda leaf: None if leaf is None else leaf.tolist(), batch)
        self.seen.append((index, numbers, draw()))
        return self.weight.square()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def on_save_checkpoint(self, checkpoint):
        checkpoint["replay"] = self.replay.state_dict(RandomState.capture())

    def on_load_checkpoint(self, checkpoint):
        self.replay.load_state_dict(checkpoint["replay"])


def fit(kind, folder=None, checkpoint=None, seed=1, plain=False, make=Recorder, **options):
    torch.manual_seed(seed), np.random.seed(seed), random.seed(seed)
    module = make(LOADERS[kind](), plain)
    every = [ModelCheckpoint(folder, "{step}", every_n_train_steps=1, save_top_k=-1)]
    Trainer(
        max_epochs=3, accelerator="cpu", logger=False, enable_progress_bar=False,
        callbacks=every if folder else [], enable_checkpointing=bool(folder),
        enable_model_summary=False, **options,
    ).fit(module, ckpt_path=checkpoint)  # fmt: skip
    return module.seen


def check(kind, folder, **options):
    expected = fit(kind, folder, **options)
    if "reload_dataloaders_every_n_epochs" not in options:  # Lightning draws a seed too many there
        assert fit(kind, plain=True, **options) == expected
    for stop in range(1, len(expected), 3):
        resumed = fit(kind, None, folder / f"step={stop}.ckpt", seed=2, **options)
        # Lightning numbers batches on behind the last one of an epoch without length.
        assert [seen[1:] for seen in resumed] == [seen[1:] for seen in expected[stop:]], stop


@pytest.mark.parametrize(
    "options", [{"limit_train_batches": 2}, {"reload_dataloaders_every_n_epochs": 1}]
)
@pytest.mark.parametrize("kind", ["max_size_cycle", "without length"])
def test_options_of_the_trainer_have_their_effect(kind, options, tmp_path):
    check(kind, tmp_path, **options)


def test_data_that_are_asked_for_by_a_schedule_are_resumed(tmp_path):
    """Before Lightning has restored its count of batches, and with one read ahead."""

    class Scheduled(Recorder):
        def configure_optimizers(self):
            assert self.trainer.estimated_stepping_batches > 0
            return super().configure_optimizers()

    check("without length", tmp_path, make=Scheduled, max_steps=15)


def test_stream_that_draws_while_it_is_read_is_named(tmp_path, caplog):
    for kind in ("one", "without length", "without length, read as it goes"):
        fit(kind, tmp_path / kind)
        fit(kind, checkpoint=tmp_path / kind / "step=3.ckpt")
    [message] = [text for text in caplog.messages if "draws random" in text]
    assert message.startswith("A training loader, Lazy, draws random numbers while it is read")


def test_other_loaders_than_in_the_checkpoint_are_refused(tmp_path):
    fit("no DataLoader", tmp_path)
    with pytest.raises(ValueError, match="train_dataloaders are 1 loaders; accepted are 2, as"):
        fit("one", checkpoint=tmp_path / "step=2.ckpt")


def test_state_of_a_loader_without_length_is_refused_inside_an_epoch(tmp_path, monkeypatch):
    monkeypatch.setattr(Stateful, "__len__", lambda self: len(None))
    fit("with a state", tmp_path)
    with pytest.raises(ValueError, match=r"loader is a Stateful.* had read one batch more"):
        fit("with a state", checkpoint=tmp_path / "step=2.ckpt")


@pytest.mark.parametrize("kind", [
    pytest.param(kind, marks=[pytest.mark.slow] * (kind == "workers")) for kind in LOADERS
])  # fmt: skip
def test_groups_are_read_as_by_lightning_and_resumed_after_any_step(kind, tmp_path):
    check(kind, tmp_path)
