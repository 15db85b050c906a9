"""Random generators as a checkpoint keeps them, and loaders that begin inside an epoch."""

import random

import numpy as np
import pytest
import torch
from noisy import N, Noisy, draw, epoch, loader
from torch.utils.data import (
    DataLoader,
    IterableDataset,
)

from nni_magic.supernet.resume import (
    RandomState,
    isolated_randomness,
    resumable,
    seed_generators,
)

# RandomState


def test_random_state_restores_all_generators():
    np.random.randn()  # leaves a second normal number waiting in numpy's generator
    random.gauss(0, 1)
    state = RandomState.capture()
    first = [draw(), random.gauss(0, 1), draw()]
    state.restore()
    assert [draw(), random.gauss(0, 1), draw()] == first


def test_random_state_of_other_seeds_restores():
    torch.manual_seed(1), np.random.seed(1), random.seed(1)
    state, expected = RandomState.capture(), draw()
    torch.manual_seed(2), np.random.seed(2), random.seed(2)
    assert draw() != expected
    state.restore()
    assert draw() == expected


def test_random_state_is_read_back_with_weights_only(tmp_path):
    torch.save(RandomState.capture().state, tmp_path / "state.pt")
    expected = [draw(), draw()]
    RandomState(torch.load(tmp_path / "state.pt", weights_only=True)).restore()
    assert [draw(), draw()] == expected


def test_random_state_capture_draws_nothing():
    state = RandomState.capture()
    expected = draw()
    state.restore()
    RandomState.capture()
    assert draw() == expected


def test_isolated_randomness_leaves_the_generators_as_they_were():
    state = RandomState.capture()
    expected = draw()
    state.restore()
    with isolated_randomness():
        torch.manual_seed(99), np.random.seed(99), random.seed(99)
        draw()
    assert draw() == expected


def test_isolated_randomness_restores_after_an_error_and_lets_it_through():
    state = RandomState.capture()
    expected = draw()
    state.restore()
    with pytest.raises(KeyError, match="lost"), isolated_randomness():
        draw()
        raise KeyError("lost")
    assert draw() == expected


class GPUs:
    """Stands for some GPUs, by generators of the CPU behind torch's own functions."""

    def __init__(self, monkeypatch, n, current=0):
        self.generators = [torch.Generator().manual_seed(100 + i) for i in range(n)]
        self.current = current
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "default_generators", self.generators)
        for name, fake in (
            ("device_count", lambda: n), ("current_device", lambda: self.current),
            ("_lazy_init", lambda: None), ("_lazy_call", lambda call, **options: call()),
        ):  # fmt: skip
            monkeypatch.setattr(torch.cuda.random, name, fake)

    def draw(self, gpu=None):
        generator = self.generators[self.current if gpu is None else gpu]
        return torch.rand(3, generator=generator).tolist()


@pytest.mark.parametrize(("n", "current"), [(3, 2), (2, 0), (1, 0)])
def test_random_state_of_several_gpus_comes_back_on_the_current_one(n, current, monkeypatch):
    writer = GPUs(monkeypatch, 2, current=1)
    writer.draw()
    state = RandomState.capture()
    expected = [writer.draw(), writer.draw()]
    reader = GPUs(monkeypatch, n, current)
    others = [g.initial_seed() for i, g in enumerate(reader.generators) if i != current]
    RandomState(state.state).restore()
    assert [reader.draw(), reader.draw()] == expected
    untouched = [torch.rand(3, generator=torch.Generator().manual_seed(s)) for s in others]
    rest = [reader.draw(i) for i in range(n) if i != current]
    assert rest == [numbers.tolist() for numbers in untouched]


def test_random_state_of_all_gpus_of_an_older_version_is_read(monkeypatch):
    gpus = GPUs(monkeypatch, 2)
    state = RandomState.capture().state
    state["cuda"] = torch.cuda.get_rng_state_all()
    expected = gpus.draw()
    alone = GPUs(monkeypatch, 1)
    alone.draw()
    RandomState(state).restore()
    assert alone.draw() == expected


def test_random_state_without_a_gpu_leaves_one_alone(monkeypatch):
    state = RandomState.capture()
    gpus, same = GPUs(monkeypatch, 1), GPUs(monkeypatch, 1)
    state.state["cuda"] = []
    state.restore()
    assert gpus.draw() == same.draw()


def test_isolated_randomness_leaves_all_gpus_as_they_were(monkeypatch):
    gpus = GPUs(monkeypatch, 3, current=1)
    before = [generator.get_state() for generator in gpus.generators]
    with isolated_randomness():
        seed_generators(7)
        assert gpus.draw() == torch.rand(3, generator=torch.Generator().manual_seed(7)).tolist()
    after = [generator.get_state() for generator in gpus.generators]
    assert all(map(torch.equal, before, after))


# resumable


def test_resumable_leaves_other_iterables_alone():
    class Stateful(DataLoader):
        def state_dict(self):
            return {}

    stateful = Stateful(Noisy())
    for other in ([1, 2], "abc", None, {"a": loader()}, stateful, iter([1])):
        assert resumable(other) is other


def test_resumable_keeps_the_type_and_everything_in_the_loader():
    class Own(DataLoader):
        def __init__(self, *args, extra, **kwargs):
            super().__init__(*args, **kwargs)
            self.extra = extra

    original = Own(Noisy(), batch_size=5, extra="kept", drop_last=True)
    twin = resumable(original)
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
    assert len(epoch(original)) == 6


@pytest.mark.parametrize("workers, done", [*((0, done) for done in range(7)), (2, 0), (2, 4)])
def test_resumable_skips_what_is_done(workers, done):
    whole = epoch(loader(range(N)))
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
    assert asked == ["completed", "sampler"]


def test_resumable_lets_lightning_give_it_a_distributed_sampler():
    from pytorch_lightning.utilities.data import _update_dataloader
    from torch.utils.data import DistributedSampler

    twin = resumable(loader(range(N)), lambda: 1)
    sampler = DistributedSampler(range(N), num_replicas=2, rank=1, shuffle=False)
    updated = _update_dataloader(twin, sampler)
    assert isinstance(updated, DataLoader)
    assert epoch(updated) == [[5, 7], [9, 11]]  # the first of rank 1's three batches is done


def test_resumable_of_an_iterable_dataset_skips():
    class Stream(IterableDataset):
        def __iter__(self):
            return iter(range(6))

    assert epoch(resumable(DataLoader(Stream(), batch_size=2), lambda: 1)) == [[2, 3], [4, 5]]
