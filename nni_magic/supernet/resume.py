"""Random generators: the global ones, and those that loaders were given."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

import numpy as np
import torch

__all__ = [
    "RandomState", "isolated_randomness", "own_states", "read_anew", "seed_generators",
    "set_own_states",
]  # fmt: skip


class RandomState:
    """A snapshot of the global generators of torch, numpy and Python.

    Of several GPUs it holds the generator of the current one, which Lightning has given to this
    process. It is restored on the GPU that is current then, as another machine may have others.

    Examples
    --------
    >>> state = RandomState.capture()
    >>> first = torch.rand(3)
    >>> state.restore()
    >>> torch.equal(first, torch.rand(3))
    True
    """

    def __init__(self, state: dict[str, Any]) -> None:
        self.state = state

    def __eq__(self, other: object) -> bool:
        """Whether the same numbers would be drawn; of GPUs it is not asked, which read no data."""
        if not isinstance(other, RandomState):
            return NotImplemented
        mine, theirs = self.state, other.state
        return torch.equal(mine["torch"], theirs["torch"]) and all(
            mine[name] == theirs[name] for name in ("numpy", "python")
        )

    __hash__ = None  # type: ignore[assignment]

    @classmethod
    def capture(cls) -> RandomState:
        """Take a snapshot of the generators as they are now."""
        name, keys, position, has_gauss, gauss = cast(Any, np.random.get_state())
        version, words, next_gauss = random.getstate()
        return cls(
            {
                "torch": torch.get_rng_state(),
                "cuda": [torch.cuda.get_rng_state()] if torch.cuda.is_available() else [],
                "numpy": [name, keys.tolist(), position, has_gauss, gauss],
                "python": [version, list(words), next_gauss],
            }
        )

    def restore(self) -> None:
        """Put all generators back to where the snapshot was taken."""
        torch.set_rng_state(self.state["torch"])
        if torch.cuda.is_available() and self.state["cuda"]:
            torch.cuda.set_rng_state(self.state["cuda"][0])  # older ones hold those of all GPUs
        name, keys, position, has_gauss, gauss = self.state["numpy"]
        np.random.set_state((name, np.array(keys, dtype=np.uint32), position, has_gauss, gauss))
        version, words, next_gauss = self.state["python"]
        random.setstate((version, tuple(words), next_gauss))


class isolated_randomness:  # noqa: N801 - used as a function
    """Context that leaves the global generators as it found them."""

    def __enter__(self) -> None:
        self._state = RandomState.capture()

    def __exit__(self, *exception: object) -> None:
        self._state.restore()


def seed_generators(seed: int) -> None:
    """Seed the generators that a :class:`RandomState` holds."""
    torch.default_generator.manual_seed(seed)  # torch.manual_seed would keep the call's traceback
    if torch.cuda.is_available():
        torch.cuda.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)


def _own_generators(loaders: Iterable[Any]) -> list[torch.Generator]:
    """Generators that loaders or their samplers were given, each once."""
    found = []
    for loader in loaders:
        batches = getattr(loader, "batch_sampler", None)
        sampler = getattr(loader, "sampler", None)
        holders = (loader, sampler, batches, getattr(batches, "sampler", None))
        found += [getattr(holder, "generator", None) for holder in holders]
    return list({id(one): one for one in found if isinstance(one, torch.Generator)}.values())


def own_states(*loaders: Any) -> list[torch.Tensor]:
    """States of the generators that loaders or their samplers were given."""
    return [generator.get_state() for generator in _own_generators(loaders)]


def set_own_states(states: Iterable[torch.Tensor], *loaders: Any) -> None:
    """Bring these generators to such states."""
    for generator, state in zip(_own_generators(loaders), states, strict=True):
        generator.set_state(state)


@contextlib.contextmanager
def read_anew(loaders: Sequence[Any]) -> Iterator[None]:
    """Read the first epoch of loaders with generators seeded anew; then they are as they were.

    So the same batches are read at any time, by a resumed run too, and whoever else reads the
    loaders goes on in their order. The global generators stay seeded: see
    :class:`isolated_randomness`.

    Raises
    ------
    ValueError
        If a loader can be read only once.
    """
    for loader in loaders:
        _check_can_be_read_again(loader)
    samplers = [s for one in loaders if hasattr(s := getattr(one, "sampler", None), "set_epoch")]
    epochs = [getattr(sampler, "epoch", None) for sampler in samplers]
    states = own_states(*loaders)
    seed_generators(0)
    for generator in _own_generators(loaders):
        generator.manual_seed(0)
    _set_epochs(samplers, [None if epoch is None else 0 for epoch in epochs])
    try:
        yield
    finally:
        set_own_states(states, *loaders)
        _set_epochs(samplers, epochs)


def _set_epochs(samplers: Sequence[Any], epochs: Sequence[int | None]) -> None:
    for sampler, epoch in zip(samplers, epochs, strict=True):
        if epoch is not None:
            sampler.set_epoch(epoch)


def _check_can_be_read_again(loader: Any) -> None:
    if isinstance(loader, Iterator):
        raise ValueError(
            f"a loader is a {type(loader).__name__}, which gives its batches once, and children "
            "are scored or calibrated on batches that training and validation are given, too; "
            "accepted is what gives its batches anew whenever it is iterated, such as a DataLoader"
        )
