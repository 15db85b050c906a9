"""What a Lightning checkpoint leaves out: random generators and the place in the data.

A run that stops after any step and is resumed must take the same children and the same losses.
Lightning restores weights, optimizer and counters, but neither the global random generators, on
which dropout, masking and shuffling depend, nor the position of a loader inside an epoch: after a
resume in mid-epoch it starts over with the epoch's first batches. :class:`Replay` and
:func:`resumable` fill the two gaps.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from typing import Any, cast

import numpy as np
import torch
from torch.utils.data import DataLoader

__all__ = [
    "RandomState", "Replay", "batches_done", "isolated_randomness", "read_anew", "resumable",
    "seed_generators",
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


def batches_done(trainer: Any) -> int:
    """Count the batches of the present epoch that were trained on before a trainer (re)started."""
    # Data without length are asked for before Lightning begins to count the epoch anew.
    progress = trainer.fit_loop.epoch_loop.batch_progress
    return 0 if progress.is_last_batch else progress.current.ready


class Replay:
    """Brings the random generators and a loader back to where a checkpoint was written.

    Inside an epoch this takes three steps: the epoch begins again with the generators as they were
    when it first began, so that a loader shuffles in the same way; the batches already trained on
    are passed over; then the generators are set to where they were when the checkpoint was written.
    """

    def __init__(self) -> None:
        self._epoch_start: dict[str, Any] = {}
        self._resumed: dict[str, Any] | None = None
        self._loader: DataLoader[Any] | None = None

    @property
    def pending(self) -> bool:
        """Whether a state was loaded whose generators are not restored yet."""
        return self._resumed is not None

    def state_dict(self, now: RandomState) -> dict[str, Any]:
        """The generators with which training goes on, and as they were when the epoch began."""
        return {
            "now": now.state,
            "loader_now": None if self._loader is None else _own_states(self._loader),
            "epoch_start": self._epoch_start,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where :meth:`state_dict` was taken, as soon as the data are asked for."""
        self._resumed = state

    def begin(self, loader: DataLoader[Any], done: int) -> None:
        """Prepare the generators for an epoch of which ``done`` batches were trained on already."""
        self._loader = loader
        if self._resumed is None or not done:
            if self._resumed is not None:
                _set_own_states(loader, self._resumed["loader_now"])
            self.finish()
            self._epoch_start = {
                "global": RandomState.capture().state,
                "loader": _own_states(loader),
            }
            return
        self._epoch_start = self._resumed["epoch_start"]
        RandomState(self._epoch_start["global"]).restore()
        _set_own_states(loader, self._epoch_start["loader"])

    def finish(self) -> None:
        """Set the generators to where they were in the checkpoint, if one was loaded."""
        if self._resumed is not None:
            RandomState(self._resumed["now"]).restore()
            self._resumed = None


def _own_generators(loader: Any) -> list[torch.Generator]:
    """Generators that a loader or its samplers were given, each once."""
    batches = getattr(loader, "batch_sampler", None)
    holders = (loader, getattr(loader, "sampler", None), batches, getattr(batches, "sampler", None))
    found = [getattr(holder, "generator", None) for holder in holders]
    return list({id(one): one for one in found if isinstance(one, torch.Generator)}.values())


def _own_states(loader: Any) -> list[torch.Tensor]:
    return [generator.get_state() for generator in _own_generators(loader)]


def _set_own_states(loader: Any, states: list[torch.Tensor] | None) -> None:
    if states is not None:
        for generator, state in zip(_own_generators(loader), states, strict=True):
            generator.set_state(state)


@contextlib.contextmanager
def read_anew(loader: Any) -> Iterator[None]:
    """Read a loader's first epoch with generators seeded anew, and bring it back to where it was.

    So the same batches are read at any time, by a resumed run too, and whoever else reads the
    loader goes on in its order. The global generators stay seeded: see
    :class:`isolated_randomness`.
    """
    sampler: Any = getattr(loader, "sampler", None)
    states = _own_states(loader)
    epoch = getattr(sampler, "epoch", None) if hasattr(sampler, "set_epoch") else None
    seed_generators(0)
    for generator in _own_generators(loader):
        generator.manual_seed(0)
    if epoch is not None:
        sampler.set_epoch(0)
    try:
        yield
    finally:
        _set_own_states(loader, states)
        if epoch is not None:
            sampler.set_epoch(epoch)


class _Resumable:
    """Mixin for a loader that starts an epoch behind the batches already done.

    The iterator is made when the first batch is asked for and not before: only then Lightning has
    told the sampler its epoch.
    """

    _completed: Callable[[], int]
    _replay: Replay | None

    def __iter__(self) -> Iterator[Any]:
        done = type(self)._completed()
        if self._replay is not None:
            self._replay.begin(cast(DataLoader[Any], self), done)
        batches = super().__iter__()  # type: ignore[misc]
        for _ in range(done):
            next(batches)
        if self._replay is not None:
            self._replay.finish()
        yield from batches

    # Lightning asks for these two before it trusts a loader to resume inside an epoch. There is
    # nothing to keep: Lightning's own count of batches tells where to start.
    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


def resumable(
    loader: Any, completed: Callable[[], int] = lambda: 0, replay: Replay | None = None
) -> Any:
    """Make a ``DataLoader`` continue inside an epoch, and iterate it no sooner than needed.

    Parameters
    ----------
    loader
        The loader, which is not changed. Anything but a ``DataLoader`` is given back as it is, and
        so is a loader with a ``state_dict`` of its own, which Lightning resumes.
    completed
        Called when an epoch starts: how many of its batches were already trained on.
    replay
        Brings the random generators along.

    Returns
    -------
    DataLoader
        A shallow copy of the loader, of a subclass of its type, so that Lightning can still
        give it a distributed sampler.
    """
    if not isinstance(loader, DataLoader) or hasattr(loader, "state_dict"):
        return loader
    namespace = {"_completed": staticmethod(completed), "_replay": replay}
    # NNI unwraps a traced type that is derived from, then warns about loaders without the trace.
    traced = ("trace_copy", "trace_symbol", "trace_args", "trace_kwargs")
    namespace.update({name: getattr(loader, name) for name in traced if hasattr(loader, name)})
    twin_type = type(f"Resumable{type(loader).__name__}", (_Resumable, type(loader)), namespace)
    twin: Any = object.__new__(twin_type)
    twin.__dict__.update(loader.__dict__)
    return twin
