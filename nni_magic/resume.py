"""What a Lightning checkpoint leaves out: random generators and the place in the data.

A run that stops after any step and is resumed must take the same children and the same losses.
Lightning restores weights, optimizer and counters, but neither the global random generators, on
which dropout, masking and shuffling depend, nor the position of a loader inside an epoch: after a
resume in mid-epoch it starts over with the epoch's first batches. :class:`RandomState` and
:func:`resumable` fill the two gaps.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

__all__ = ["RandomState", "isolated_randomness", "resumable"]


class RandomState:
    """A snapshot of the global generators of torch (all devices), numpy and Python.

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

    @classmethod
    def capture(cls) -> RandomState:
        """Take a snapshot of the generators as they are now."""
        name, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)  # type: ignore[misc]
        version, words, next_gauss = random.getstate()
        return cls(
            {
                "torch": torch.get_rng_state(),
                "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
                "numpy": [name, keys.tolist(), position, has_gauss, gauss],
                "python": [version, list(words), next_gauss],
            }
        )

    def restore(self) -> None:
        """Put all generators back to where the snapshot was taken."""
        torch.set_rng_state(self.state["torch"])
        if torch.cuda.is_available() and self.state["cuda"]:
            torch.cuda.set_rng_state_all(self.state["cuda"])
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


class _Resumable:
    """Mixin for a loader that starts an epoch behind the batches already done.

    The iterator is made when the first batch is asked for and not before: only then Lightning has
    told the sampler its epoch.
    """

    _completed: Callable[[], int]
    _starting: Callable[[Any, int], None]
    _started: Callable[[], None]

    def __iter__(self) -> Iterator[Any]:
        done = type(self)._completed()
        type(self)._starting(self, done)
        batches = super().__iter__()  # type: ignore[misc]
        for _ in range(done):
            next(batches)
        type(self)._started()
        yield from batches

    # Lightning asks for these two before it trusts a loader to resume inside an epoch. There is
    # nothing to keep: Lightning's own count of batches tells where to start.
    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


def resumable(
    loader: Any,
    completed: Callable[[], int],
    starting: Callable[[Any, int], None] = lambda loader, done: None,
    started: Callable[[], None] = lambda: None,
) -> Any:
    """Make a ``DataLoader`` continue inside an epoch.

    Parameters
    ----------
    loader
        The loader, which is not changed. Anything but a ``DataLoader`` is given back as it is, and
        so is a loader with a ``state_dict`` of its own, which Lightning resumes.
    completed
        Called when an epoch starts: how many of its batches were already trained on.
    starting
        Called with the loader and that number before the epoch's iterator is made.
    started
        Called when the batches already trained on have been passed over.

    Returns
    -------
    DataLoader
        A shallow copy of the loader, of a subclass of its type, so that Lightning can still
        give it a distributed sampler.
    """
    if not isinstance(loader, DataLoader) or hasattr(loader, "state_dict"):
        return loader
    namespace = {
        "_completed": staticmethod(completed),
        "_starting": staticmethod(starting),
        "_started": staticmethod(started),
    }
    twin_type = type(f"Resumable{type(loader).__name__}", (_Resumable, type(loader)), namespace)
    twin = object.__new__(twin_type)
    twin.__dict__.update(loader.__dict__)
    return twin
