"""What a Lightning checkpoint leaves out: the random generators and the place in the data.

A run that stops after any step and is resumed must take the same children and the same losses.
Lightning restores weights, optimizer and counters, but neither the global random generators, on
which dropout, masking and shuffling depend, nor the position of loaders inside an epoch: after a
resume in mid-epoch it starts over with the epoch's first batches. :class:`Replay` and
:func:`resumable` fill the two gaps, for whatever Lightning accepts as loaders.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

from lightning_fabric.utilities.data import sized_len
from torch.utils.data import DataLoader, IterableDataset

from .loaders import TRAINING, LateLoader, late
from .resume import RandomState, own_states, set_own_states

__all__ = ["Replay", "batches_done", "resumable"]

_logger = logging.getLogger(__name__)


def batches_done(trainer: Any) -> int:
    """Count the batches of the present epoch that were trained on before a trainer (re)started."""
    # Data without length are asked for before Lightning begins to count the epoch anew.
    progress = trainer.fit_loop.epoch_loop.batch_progress
    return 0 if progress.is_last_batch else progress.current.processed


class Replay:
    """Brings the random generators and loaders back to where a checkpoint was written.

    Inside an epoch, every loader begins its present pass with the generators as they were when
    that pass first began, so that it shuffles in the same way; the batches already trained on are
    passed over; then the generators are set to where they were when the checkpoint was written.
    (An epoch is one pass of a loader, or several of a short one beside a long one.)
    """

    def __init__(self) -> None:
        self._resumed: dict[str, Any] | None = None
        self._loaders: Sequence[Any] = ()
        self._passes: list[_Passes] = []
        self._done: Callable[[], int] = lambda: 0
        self._fetched = 0
        self._before_last: dict[str, Any] | None = None

    @property
    def pending(self) -> bool:
        """Whether a state was loaded whose generators are not restored yet."""
        return self._resumed is not None

    def state_dict(self, now: RandomState) -> dict[str, Any]:
        """The generators with which training goes on, and how to come to the place in the data."""
        if self._resumed is not None:
            return self._resumed
        return {
            "now": now.state,
            "loader_now": own_states(*self._loaders) if self._loaders else None,
            "done": self._done(),
            "passes": [passes.state_dict() for passes in self._passes],
            "ahead": self._before_last if self._fetched > self._done() else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where :meth:`state_dict` was taken, as soon as the data are asked for."""
        self._resumed = state

    def begin(self, loaders: Sequence[Any], done: Callable[[], int]) -> list[_Passes]:
        """Give the loaders of an epoch as they are to be read; from :meth:`to_pass_over` on."""
        self._loaders, self._done, self._fetched = loaders, done, 0
        state = self._resumed or {}
        if not self.to_pass_over():
            self.finish()
            state = {}
        # A checkpoint of a single loader had no more than the start of the epoch.
        one = {"finished": [], "starts": [state.get("epoch_start")]}
        resumed = state.get("passes", [one]) if state else [None] * len(loaders)
        if len(resumed) != len(loaders):
            raise ValueError(
                f"train_dataloaders are {len(loaders)} loaders; accepted are {len(resumed)}, as "
                "in the training that is to go on"
            )
        self._passes = [
            _Passes(loader, self, taken) for loader, taken in zip(loaders, resumed, strict=True)
        ]
        return self._passes

    def to_pass_over(self) -> int:
        """How many batches were trained on before; none where a whole epoch is to be read."""
        # Lightning may ask for data before it has counted: for the length of a schedule.
        return (self._resumed or {}).get("done", self._done())

    def before_batch(self, *, read_ahead: bool) -> None:
        """Note how many batches were read, and the generators before one that is read ahead."""
        self._fetched += 1
        self._before_last = RandomState.capture().state if read_ahead else None

    def passed_over(self, n: int) -> bool:
        """Whether behind ``n`` batches, already trained on, is one that was read ahead.

        The generators are then as they were when it was read.
        """
        self._fetched = n
        ahead = (self._resumed or {}).get("ahead")
        if not n or ahead is None:
            return False
        for loader in self._loaders:
            if _keeps_state(loader) and sized_len(loader) is None:
                raise ValueError(
                    f"a training loader is a {type(loader).__name__}, which keeps a state of its "
                    "own and has no length: Lightning had read one batch more than it trained on, "
                    "so that training cannot go on inside the epoch; accepted are a loader with a "
                    "length, and a checkpoint from the end of an epoch"
                )
        RandomState(ahead).restore()
        return True

    def finish(self) -> None:
        """Set the generators to where they were in the checkpoint, if one was loaded."""
        if self._resumed is not None:
            RandomState(self._resumed["now"]).restore()
            if self._loaders and self._resumed["loader_now"] is not None:
                set_own_states(self._resumed["loader_now"], *self._loaders)
            self._resumed = None


class _Passes:
    """The passes of a loader in one epoch: whenever it is iterated, the next pass begins."""

    def __init__(self, loader: Any, replay: Replay, taken: dict[str, Any] | None) -> None:
        self._loader, self._replay = loader, replay
        self._taken = taken or {"finished": [], "starts": []}
        self._finished: list[int] = []
        self._starts: list[dict[str, Any]] = []

    def state_dict(self) -> dict[str, Any]:
        """Lengths of the passes that are over, and the generators when the present one began."""
        return {"finished": list(self._finished), "starts": list(self._starts)}

    def __iter__(self) -> Iterator[Any]:
        over = self._taken["finished"]
        if len(self._finished) < len(over):
            return self._not_read(over[len(self._finished)])
        self._starts = []
        starts = self._taken["starts"] if self._replay.pending else []
        self._start(*starts[:1])
        return self._read(iter(self._loader), *starts[1:])

    def _not_read(self, length: int) -> Iterator[None]:
        for _ in range(length):
            yield None
        self._end(length)

    def _read(self, batches: Iterator[Any], start: dict[str, Any] | None = None) -> Iterator[Any]:
        # A loader draws twice: when it is iterated, and when its first batch is asked for. With
        # several loaders, others draw in between.
        self._start(start)
        length = 0
        while self._replay.pending and _keeps_state(self._loader):
            length += 1
            yield None  # it begins behind these batches by itself
        for batch in self._watched(batches):
            length += 1
            yield batch
        self._end(length)

    def _watched(self, batches: Iterator[Any]) -> Iterator[Any]:
        """Warn where batches may depend on what training has drawn before they were read."""
        yield from islice(batches, 1)
        drawn = False
        while self._replay.pending and _is_stream(self._loader):
            before = RandomState.capture()
            for batch in islice(batches, 1):
                drawn = drawn or before != RandomState.capture()
                yield batch
        if drawn:
            _logger.warning(
                "A training loader, %s, draws random numbers while it is read: unless that is "
                "noise alone, its batches until the epoch ends are others than without the stop",
                type(getattr(self._loader, "dataset", self._loader)).__name__,
            )
        yield from batches

    def _start(self, start: dict[str, Any] | None = None) -> None:
        if start:
            RandomState(start["global"]).restore()
            set_own_states(start["loader"], self._loader)
        now = {"global": RandomState.capture().state, "loader": own_states(self._loader)}
        self._starts.append(now)

    def _end(self, length: int) -> None:
        self._finished.append(length)
        self._starts = []


class _Resumable(LateLoader):
    """Starts an epoch behind the batches already done.

    The loaders are iterated when the first batch is asked for and not before: only then Lightning
    has told the samplers their epoch.
    """

    _done: Callable[[], int]
    _replay: Replay

    def _begin(self) -> None:
        replay, own = self._replay, self.flattened
        self._ahead: list[Any] = []
        self._reads_ahead = sized_len(self) is None
        self.flattened = replay.begin(own, self._done)
        try:
            super()._begin()
        finally:
            self.flattened = own
        done = replay.to_pass_over()
        for _ in range(done):
            super()._following()
        if replay.passed_over(done):
            self._ahead.append(self._following())
        replay.finish()

    def _following(self) -> Any:
        if self._ahead:
            return self._ahead.pop()
        self._replay.before_batch(read_ahead=self._reads_ahead)
        return super()._following()


class _Trusted:
    """Mixin for a ``DataLoader`` of which there is nothing to keep.

    Lightning asks for these two before it trusts a loader to resume inside an epoch.
    """

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


def _keeps_state(loader: Any) -> bool:
    """Whether a loader has a ``state_dict`` of its own, which Lightning keeps and restores."""
    return hasattr(loader, "state_dict") and not isinstance(loader, _Trusted)


def _is_stream(loader: Any) -> bool:
    """Whether a loader may choose its batches while it is read, in this process."""
    if isinstance(loader, DataLoader):
        return isinstance(loader.dataset, IterableDataset) and not loader.num_workers
    return True


def _trusted(loader: Any) -> Any:
    """A twin of a ``DataLoader`` that Lightning trusts; any other loader as it is."""
    if not isinstance(loader, DataLoader) or hasattr(loader, "state_dict"):
        return loader
    # NNI unwraps a traced type that is derived from, then warns about loaders without the trace.
    traced = ("trace_copy", "trace_symbol", "trace_args", "trace_kwargs")
    namespace = {name: getattr(loader, name) for name in traced if hasattr(loader, name)}
    twin_type = type(f"Resumable{type(loader).__name__}", (_Trusted, type(loader)), namespace)
    twin: Any = object.__new__(twin_type)
    twin.__dict__.update(loader.__dict__)
    return twin


def resumable(
    loaders: Any, completed: Callable[[], int] = lambda: 0, replay: Replay | None = None
) -> Any:
    """Make training loaders continue inside an epoch, and iterate them no sooner than needed.

    Parameters
    ----------
    loaders
        Whatever Lightning accepts; they are not changed. A loader with a ``state_dict`` of its own
        is resumed by Lightning.
    completed
        Called when an epoch starts: how many of its batches were already trained on.
    replay
        Brings the random generators along.

    Returns
    -------
    CombinedLoader
        As Lightning would make it. It holds shallow copies of each ``DataLoader``, of a subclass of
        its type, so that Lightning can still give it a distributed sampler.
    """
    twin = late(loaders, TRAINING, _Resumable)
    twin.flattened = [_trusted(loader) for loader in twin.flattened]
    twin._done, twin._replay = completed, replay or Replay()
    return twin
