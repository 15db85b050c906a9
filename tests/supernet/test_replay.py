"""A training that goes on inside an epoch: the same batches, and the same random numbers."""

import copy
import random

import numpy as np
import pytest
import torch
from noisy import N, Noisy, draw, loader
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    RandomSampler,
    TensorDataset,
)

from nni_magic.supernet.resume import (
    RandomState,
    Replay,
    resumable,
)


def interrupted(make, done, epochs=1):
    """Train on a loader, and again with a stop after some batches of the second epoch.

    Returns what the batches were and what a training step drew, in both cases.
    """

    def steps(batches):
        return [(batch.tolist(), draw()) for batch in batches]

    torch.manual_seed(5), np.random.seed(5), random.seed(5)
    replay = Replay()
    train = resumable(make(), lambda: 0, replay)
    for _ in range(epochs):
        steps(train)
    iterator = iter(train)
    before = steps(next(iterator) for _ in range(done))
    state = copy.deepcopy(replay.state_dict(RandomState.capture()))
    expected = steps(iterator) + steps(train)

    torch.manual_seed(77), np.random.seed(77), random.seed(77)  # another process
    replay = Replay()
    replay.load_state_dict(state)
    left = [done]
    train = resumable(make(), lambda: left[0], replay)
    found = steps(train)
    left[0] = 0
    found += steps(train)
    return before, expected, found


LOADERS = {
    "in order": lambda: loader(),
    "shuffled": lambda: loader(shuffle=True),
    "own generator": lambda: loader(shuffle=True, generator=torch.Generator().manual_seed(3)),
    "own generator in order": lambda: loader(generator=torch.Generator().manual_seed(3)),
    "with replacement": lambda: loader(sampler=RandomSampler(Noisy(), replacement=True)),
    "sampler's own generator": lambda: loader(
        sampler=RandomSampler(Noisy(), generator=torch.Generator().manual_seed(3))
    ),
    "batch sampler's own generator": lambda: DataLoader(
        Noisy(),
        batch_sampler=BatchSampler(
            RandomSampler(Noisy(), generator=torch.Generator().manual_seed(3)), 2, False
        ),
    ),
}


@pytest.mark.parametrize("done", [1, 4, 6])
@pytest.mark.parametrize("kind", LOADERS)
def test_replay_continues_inside_an_epoch(kind, done):
    before, expected, found = interrupted(LOADERS[kind], done)
    assert len(before) == done
    assert len(expected) == 12 - done
    assert found == expected


@pytest.mark.parametrize("epochs", [0, 1, 2])
@pytest.mark.parametrize("kind", LOADERS)
def test_replay_continues_at_the_start_of_an_epoch(kind, epochs):
    """The state is taken behind an epoch's last batch, and the next epoch begins after it."""
    _, expected, found = interrupted(LOADERS[kind], done=0, epochs=epochs)
    assert found == expected


@pytest.mark.parametrize("done", [2])
def test_replay_with_workers_continues_inside_an_epoch(done):
    def make():
        return loader(TensorDataset(torch.arange(N)), shuffle=True, num_workers=2)

    def steps(batches):
        return [(batch[0].tolist(), draw()) for batch in batches]

    torch.manual_seed(5)
    replay = Replay()
    iterator = iter(resumable(make(), lambda: 0, replay))
    steps(next(iterator) for _ in range(done))
    state = copy.deepcopy(replay.state_dict(RandomState.capture()))
    expected = steps(iterator)
    torch.manual_seed(77)
    replay = Replay()
    replay.load_state_dict(state)
    assert replay.pending
    assert steps(resumable(make(), lambda: done, replay)) == expected
    assert not replay.pending


def test_replay_state_is_read_back_with_weights_only(tmp_path):
    replay = Replay()
    list(resumable(LOADERS["own generator"](), lambda: 0, replay))
    torch.save(replay.state_dict(RandomState.capture()), tmp_path / "replay.pt")
    expected = draw()
    other = Replay()
    other.load_state_dict(torch.load(tmp_path / "replay.pt", weights_only=True))
    other.finish()
    assert draw() == expected


def test_replay_finish_without_a_state_draws_and_restores_nothing():
    state = RandomState.capture()
    expected = draw()
    state.restore()
    Replay().finish()
    assert draw() == expected


def test_replay_stopped_twice_continues():
    """A second stop in the epoch that was itself resumed."""
    make = LOADERS["shuffled"]

    def steps(batches):
        return [(batch.tolist(), draw()) for batch in batches]

    torch.manual_seed(5), np.random.seed(5), random.seed(5)
    expected = steps(resumable(make(), lambda: 0, Replay()))

    torch.manual_seed(5), np.random.seed(5), random.seed(5)
    found, state = [], None
    for done, n in ((0, 2), (2, 3), (5, 1)):
        replay = Replay()
        if state is not None:
            torch.manual_seed(done), np.random.seed(done), random.seed(done)
            replay.load_state_dict(state)
        iterator = iter(resumable(make(), lambda done=done: done, replay))
        found += steps(next(iterator) for _ in range(n))
        state = copy.deepcopy(replay.state_dict(RandomState.capture()))
    assert found == expected


class Recorder(LightningModule):
    """Trains a number; remembers its batches and what a step drew."""

    def __init__(self, make_loader):
        super().__init__()
        self.make_loader = make_loader
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen = []
        self.replay = Replay()

    def train_dataloader(self):
        def done():
            return self.trainer.fit_loop.epoch_loop.batch_progress.current.ready

        return resumable(self.make_loader(), done, self.replay)

    def training_step(self, batch, index):
        self.replay.finish()
        self.seen.append((batch.tolist(), draw()))
        return (self.weight - batch.mean()).square()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def on_save_checkpoint(self, checkpoint):
        checkpoint["replay"] = self.replay.state_dict(RandomState.capture())

    def on_load_checkpoint(self, checkpoint):
        self.replay.load_state_dict(checkpoint["replay"])


@pytest.mark.parametrize("kind", ["shuffled", "own generator"])
@pytest.mark.parametrize("stop", [2, 6, 8])
def test_replay_in_lightning_continues_after_any_step(tmp_path, stop, kind):
    def fit(seed, ckpt_path=None):
        torch.manual_seed(seed), np.random.seed(seed), random.seed(seed)
        module = Recorder(LOADERS[kind])
        every_step = ModelCheckpoint(
            tmp_path / str(seed), "{step}", every_n_train_steps=1, save_top_k=-1
        )
        Trainer(
            max_epochs=3, accelerator="cpu", logger=False, callbacks=[every_step],
            enable_progress_bar=False, enable_model_summary=False,
        ).fit(module, ckpt_path=ckpt_path)  # fmt: skip
        return module

    whole = fit(seed=1)
    resumed = fit(seed=2, ckpt_path=tmp_path / "1" / f"step={stop}.ckpt")
    assert len(whole.seen) == 18
    assert resumed.seen == whole.seen[stop:]
    assert torch.equal(resumed.weight, whole.weight)
