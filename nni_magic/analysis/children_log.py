"""What TensorBoard shows of a supernet's children: which are trained, how good, and the anchor."""

from __future__ import annotations

from collections import Counter
from typing import Any

import nni_bootstrap  # noqa: F401
import numpy as np
import pytorch_lightning as pl
from nni.mutable import Sample

from ..children.samples import candidates, digest

__all__ = ["LogChildren"]

NEEDED = ("turns", "child_step", "leaderboard", "validation")


class LogChildren(pl.Callback):
    """Lightning callback that logs the children of every epoch to TensorBoard.

    ``candidates/<label>``
        Histogram of the candidates that were trained, by their number in the choice block.
    ``children/scores``, ``children/best_score``
        Scores of the best children known, and that of the best one, where the method scores
        children before the training ends.
    ``children/best``, ``anchor/architecture``
        The best child and, where the method has one, the anchor, as a table.

    Training is the same with and without it.

    Examples
    --------
    ::

        evaluator = Classification(..., logger=TensorBoardLogger("logs"), callbacks=[LogChildren()])
    """

    def __init__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        self._step = -1
        self._trained: dict[str, Counter[int]] = {}
        self._shown: dict[str, str] = {}

    def setup(self, trainer: pl.Trainer, pl_module: Any, stage: str) -> None:
        """Make sure, before a fit, that there is something to log, and something to log it to.

        Raises
        ------
        TypeError
            If the module that is trained does not come from one of the strategies.
        ValueError
            If the trainer has no logger for TensorBoard.
        """
        if stage != "fit":
            return
        if missing := [name for name in NEEDED if not hasattr(pl_module, name)]:
            raise TypeError(
                f"{type(pl_module).__name__} has no {' and no '.join(missing)}: LogChildren is for "
                "the training of a supernet by a strategy of nni_magic"
            )
        if trainer.is_global_zero and not _writers(trainer):
            names = [type(logger).__name__ for logger in trainer.loggers]
            raise ValueError(f"logger is {names}; accepted is a TensorBoardLogger, for LogChildren")
        self._forget()
        self._choices = candidates(pl_module.model)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *args: Any) -> None:
        if pl_module.child_step == self._step:  # the same children, on a batch that is added up
            return
        self._step = pl_module.child_step
        for turn in pl_module.turns:
            for label, choices in self._choices.items():
                number = choices.index(turn.child[label])
                self._trained.setdefault(label, Counter())[number] += 1

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        for writer in _writers(trainer):
            self._write(writer, pl_module, trainer.global_step)
        self._trained = {}

    def _write(self, writer: Any, pl_module: Any, step: int) -> None:
        for label, counts in self._trained.items():
            _add_counts(writer, f"candidates/{label}", counts, len(self._choices[label]), step)
        if ranked := pl_module.leaderboard.ranked():
            scores = np.array([child.score for child in ranked])
            writer.add_histogram("children/scores", scores, step)
            writer.add_scalar("children/best_score", scores[0], step)
            self._show(writer, "children/best", ranked[0].sample, step)
        if pl_module.validation.children is not pl_module.validation.panel:
            [anchor, *_] = pl_module.validation.children
            self._show(writer, "anchor/architecture", anchor, step)

    def _show(self, writer: Any, name: str, child: Sample, step: int) -> None:
        """Write a child as a table, if it is another than the one before."""
        if self._shown.get(name) != (number := digest(child)):
            self._shown[name] = number
            rows = [f"| {label} | {choice} |" for label, choice in child.items()]
            writer.add_text(name, "\n".join([f"| {number} | |", "|---|---|", *rows]), step)


def _add_counts(writer: Any, name: str, counts: Counter[int], n: int, step: int) -> None:
    """Write a histogram with a bar for each of n numbers, as wide where it was never counted."""
    numbers = np.array(list(counts.elements()))
    writer.add_histogram_raw(
        name, min=-0.5, max=n - 0.5, num=len(numbers), sum=numbers.sum(),
        sum_squares=(numbers**2).sum(), bucket_limits=[number + 0.5 for number in range(n)],
        bucket_counts=[counts[number] for number in range(n)], global_step=step,
    )  # fmt: skip


def _writers(trainer: pl.Trainer) -> list[Any]:
    """TensorBoard's writers among the loggers; other processes than the first have none."""
    if not trainer.is_global_zero:
        return []
    experiments = [getattr(logger, "experiment", None) for logger in trainer.loggers]
    return [writer for writer in experiments if hasattr(writer, "add_histogram")]
