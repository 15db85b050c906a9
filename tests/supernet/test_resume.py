"""Random generators as a checkpoint keeps them."""

import random

import numpy as np
import pytest
import torch
from noisy import draw

from nni_magic.supernet.resume import (
    RandomState,
    isolated_randomness,
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
