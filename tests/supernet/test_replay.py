"""A training that goes on inside an epoch: the same batches, and the same random numbers."""

import contextlib
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
    IterableDataset,
    RandomSampler,
    TensorDataset,
)

from nni_magic.supernet.replay import Replay, batches_done, resumable
from nni_magic.supernet.resume import RandomState


def epoch(batches):
    return [batch.tolist() for batch, *_ in batches]


def rest(iterator):
    """What an iterator still has; iterated anew, a CombinedLoader begins anew."""
    with contextlib.suppress(StopIteration):
        while True:
            yield next(iterator)


def interrupted(make, done, epochs=1):
    """Train on a loader, and again with a stop after some batches of the second epoch.

    Returns what the batches were and what a training step drew, in both cases.
    """

    def steps(batches):
        return [(batch.tolist(), draw()) for batch, *_ in batches]

    torch.manual_seed(5), np.random.seed(5), random.seed(5)
    replay, left = Replay(), [0]
    train = resumable(make(), lambda: left[0], replay)
    for _ in range(epochs):
        steps(train)
    iterator = iter(train)
    before = steps(next(iterator) for _ in range(done))
    left[0] = done
    state = copy.deepcopy(replay.state_dict(RandomState.capture()))
    left[0] = 0
    expected = steps(rest(iterator)) + steps(train)

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
        return [(batch[0].tolist(), draw()) for batch, *_ in batches]

    torch.manual_seed(5)
    replay = Replay()
    left = [0]
    iterator = iter(resumable(make(), lambda: left[0], replay))
    steps(next(iterator) for _ in range(done))
    left[0] = done
    state = copy.deepcopy(replay.state_dict(RandomState.capture()))
    expected = steps(rest(iterator))
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
        return [(batch.tolist(), draw()) for batch, *_ in batches]

    torch.manual_seed(5), np.random.seed(5), random.seed(5)
    expected = steps(resumable(make(), lambda: 0, Replay()))

    torch.manual_seed(5), np.random.seed(5), random.seed(5)
    found, state = [], None
    for done, n in ((0, 2), (2, 3), (5, 1)):
        replay = Replay()
        if state is not None:
            torch.manual_seed(done), np.random.seed(done), random.seed(done)
            replay.load_state_dict(state)
        left = [done]
        iterator = iter(resumable(make(), lambda left=left: left[0], replay))
        found += steps(next(iterator) for _ in range(n))
        left[0] += n
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
        return resumable(self.make_loader(), lambda: batches_done(self.trainer), self.replay)

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


# resumable


def test_resumable_leaves_what_lightning_resumes_and_other_iterables_alone():
    class Stateful(DataLoader):
        def state_dict(self):
            return {}

    for other in ([1, 2], range(3), Stateful(Noisy()), iter([1])):
        assert resumable(other).flattened[0] is other


def test_resumable_keeps_the_type_and_everything_in_the_loader():
    class Own(DataLoader):
        def __init__(self, *args, extra, **kwargs):
            super().__init__(*args, **kwargs)
            self.extra = extra

    original = Own(Noisy(), batch_size=5, extra="kept", drop_last=True)
    [twin] = resumable(original).flattened
    assert isinstance(twin, Own)
    assert twin is not original
    assert (twin.extra, twin.batch_size, len(twin)) == ("kept", 5, 2)
    assert twin.dataset is original.dataset


def test_resumable_does_not_change_the_loader():
    original = loader(range(N))
    before = dict(vars(original))
    twin = resumable(original, completed=lambda: 4)
    assert len(epoch(twin)) == 2
    assert type(original) is DataLoader
    assert vars(original) == before
    assert len(list(original)) == 6


@pytest.mark.parametrize("workers, done", [*((0, done) for done in range(7)), (2, 0), (2, 4)])
def test_resumable_skips_what_is_done(workers, done):
    whole = [batch.tolist() for batch in loader(range(N))]
    assert epoch(resumable(loader(range(N), num_workers=workers), lambda: done)) == whole[done:]


def test_resumable_asks_anew_each_epoch():
    done = [3]
    twin = resumable(loader(range(N)), lambda: done[0])
    assert len(epoch(twin)) == 3
    done[0] = 0
    assert len(epoch(twin)) == 6


def test_resumable_is_iterated_no_sooner_than_the_first_batch_is_asked_for():
    asked = []

    class Sampler(torch.utils.data.Sampler):
        def __iter__(self):
            asked.append("sampler")
            return iter(range(N))

        def __len__(self):
            return N

    def completed():
        asked.append("completed")
        return 1

    twin = resumable(loader(range(N), sampler=Sampler()), completed)
    iterator = iter(twin)
    assert asked == []
    next(iterator)
    assert asked[0] == "completed" and asked.count("sampler") == 1


def test_resumable_lets_lightning_give_it_a_distributed_sampler():
    from pytorch_lightning.utilities.data import _update_dataloader
    from torch.utils.data import DistributedSampler

    twin = resumable(loader(range(N)), lambda: 1)
    sampler = DistributedSampler(range(N), num_replicas=2, rank=1, shuffle=False)
    twin.flattened = [_update_dataloader(twin.flattened[0], sampler)]
    assert isinstance(twin.flattened[0], DataLoader)
    assert epoch(twin) == [[5, 7], [9, 11]]  # the first of rank 1's three batches is done


def test_resumable_of_an_iterable_dataset_skips():
    class Stream(IterableDataset):
        def __iter__(self):
            return iter(range(6))

    assert epoch(resumable(DataLoader(Stream(), batch_size=2), lambda: 1)) == [[2, 3], [4, 5]]
