"""Points of a run at which it can be killed: counted in an undisturbed run, hit in another.

A point is before a module's forward pass, before or after an optimizer step, before an operation on
a file of the run, or inside a write, after some of its bytes. It belongs to a stage of the run,
which is read off the functions that are being called. All hooks are Python's and torch's own.
"""

from __future__ import annotations

import functools
import inspect
import os
import resource
import signal
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, NamedTuple
from unittest import mock

from torch.nn.modules.module import register_module_forward_pre_hook
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from nni_magic.search.child_runs import ChildRuns

__all__ = ["FILES", "INSIDE", "STAGES", "Board", "Kill", "Points", "is_write"]

STAGES = (
    ("retraining", "programs/training.py", "train_child"),
    ("search", "programs/train.py", "search"),
    ("search", "faults/small.py", "search"),
    ("shrinking", "search/shrinking.py", None),
    ("validation", "strategies/validation.py", None),
    ("anchor", "scoring/anchor.py", None),
)
"""A stage, and the file and function that run while it does; none: any function of the file."""

FORWARD = "forward and backward"
STEP = "optimizer step"
FILES = {".ckpt": "checkpoint file", ".csv": "metrics file", ".json": "results file"}
INSIDE = "inside the checkpoint's bytes"
EVENTS = {"open", "os.rename", "os.remove", "os.chmod"}
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class Kill(NamedTuple):
    """Which point of which stage; inside a file's bytes the one is the file, the other the byte."""

    stage: str
    number: int
    byte: int = 0


class Board:
    """Counts of a run that outlive its process: steps trained and children scored."""

    def __init__(self, context: Any) -> None:
        self._counts = context.Array("q", 2, lock=False)

    @property
    def steps(self) -> int:
        return self._counts[0]

    @property
    def scores(self) -> int:
        return self._counts[1]

    def step(self) -> None:
        self._counts[0] += 1

    def score(self, n: int) -> None:
        self._counts[1] += n


class Points:
    """Counts the points of this process, and kills it at one of them.

    Parameters
    ----------
    folder
        Where the run writes.
    board
        Is told of steps and scores.
    kill
        Where to die; none: count only.

    Attributes
    ----------
    counts : collections.Counter
        Points so far by stage.
    """

    def __init__(self, folder: Path, board: Board, kill: Kill | None = None) -> None:
        self.folder = f"{folder.resolve()}{os.sep}"
        self.board = board
        self.kill = kill
        self.counts: Counter[str] = Counter()

    def watch(self) -> None:
        """Watch this process from now on."""
        register_module_forward_pre_hook(lambda module, inputs: self._pass(_stage() or FORWARD))
        register_optimizer_step_pre_hook(lambda *_: self._pass(_stage() or STEP))
        register_optimizer_step_post_hook(self._stepped)
        sys.addaudithook(self._on_file)
        _count_scores(self.board)

    def _stepped(self, *_: Any) -> None:
        self.board.step()
        self._pass(_stage() or STEP)

    def _pass(self, stage: str) -> None:
        self.counts[stage] += 1
        if self.kill == (stage, self.counts[stage], 0):
            os.kill(os.getpid(), signal.SIGKILL)

    def _on_file(self, event: str, arguments: Sequence[Any]) -> None:
        if not is_write(event, arguments, self.folder):
            return
        name = os.fspath(arguments[0])
        for ending, stage in FILES.items():
            if ending in name:
                self._pass(stage)
        if event == "open" and ".ckpt" in name:
            self._begin_bytes()

    def _begin_bytes(self) -> None:
        """Let the system end this process in the write that comes, when a byte is reached."""
        self.counts[INSIDE] += 1
        if self.kill is not None and self.kill[:2] == (INSIDE, self.counts[INSIDE]):
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            resource.setrlimit(resource.RLIMIT_FSIZE, (self.kill.byte, self.kill.byte))


def is_write(event: str, arguments: Sequence[Any], folder: str) -> bool:
    """Whether an audit event is to open a file of a folder to write, to move or to remove it."""
    if event not in EVENTS or not isinstance(arguments[0], (str, os.PathLike)):
        return False
    opened_to_read = event == "open" and not arguments[2] & WRITES
    return not opened_to_read and os.path.abspath(arguments[0]).startswith(folder)


def _stage() -> str | None:
    """The innermost stage whose function is being called."""
    frame: FrameType | None = inspect.currentframe()
    while frame is not None:
        if (stage := _stage_of(frame.f_code)) is not None:
            return stage
        frame = frame.f_back
    return None


@functools.cache
def _stage_of(code: CodeType) -> str | None:
    return next(
        (stage for stage, file, function in STAGES
         if code.co_filename.endswith(file) and function in (None, code.co_name)), None,
    )  # fmt: skip


def _count_scores(board: Board) -> None:
    original = ChildRuns.__call__

    @functools.wraps(original)
    def counted(self: ChildRuns, children: list[Any]) -> Any:
        board.score(len(children))
        return original(self, children)

    mock.patch.object(ChildRuns, "__call__", counted).start()
