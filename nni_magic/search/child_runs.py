"""Run children for their scores: together along the chain, alone, or in several processes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from nni.mutable import Sample
from nni.nas.nn.pytorch import ModelSpace
from pytorch_lightning.callbacks import RichProgressBar
from pytorch_lightning.trainer.states import TrainerStatus
from tqdm import tqdm

from ..samplers.base import Sampler
from ..scoring.scorer import Scorer, Value
from ..supernet.chain import ChangedInPlace, answering, chain_of, single_step
from ..supernet.outputs import tolerance
from ..supernet.resume import seed_generators
from .execution import ChainRunner, prefix_tree
from .norms import share_norms
from .observation import Observer
from .processes import in_processes

__all__ = ["ChildRuns"]

_logger = logging.getLogger(__name__)


def _nothing() -> None:
    pass


class ChildRuns:
    """Validates children within a session of their scorer.

    Parameters
    ----------
    scorer
        Attached to a trainer.
    space
        Any sampler of the supernet.
    memory, processes
        See :class:`nni_magic.search.evaluation.ChildEvaluator`.

    Attributes
    ----------
    calls : int
        Steps of children computed so far.
    """

    def __init__(self, scorer: Scorer, space: Sampler, *, memory: int, processes: int = 1) -> None:
        self.calls = 0
        self._scorer = scorer
        self._model: ModelSpace = scorer.module.training_module.model
        self._space = space
        self._whole = single_step(self._model)
        self._memory = memory
        self._processes = processes
        self._prepared: _Prepared | None = None
        self._count: Callable[[], object] = _nothing  # called after every child

    def __call__(self, children: Sequence[Sample]) -> list[Value]:
        """Validate canonical children, and give what each is reduced to, in their order.

        A terminal shows how many are done.
        """
        if self._prepared is None:
            self._prepared = self._prepare(children[0])
        try:
            with self._bar(len(children)) as bar:
                if min(self._processes, len(children)) > 1:
                    return self._apart(self._prepared, children, bar)
                self._count = bar.update
                return self._here(self._prepared, children)
        except ChangedInPlace as error:
            self._warn(error)
            self._prepared = self._prepared._replace(runner=None)
            return self(children)
        finally:
            self._count = _nothing  # a bar has the terminal, which cannot be copied

    def _bar(self, n_children: int) -> tqdm:
        trainer = self._scorer.module.trainer
        running = trainer.state.status == TrainerStatus.RUNNING
        # Rich draws all of the terminal while a training runs; of several ranks one writes to it.
        rich = running and isinstance(trainer.progress_bar_callback, RichProgressBar)
        return tqdm(
            desc="Scores", total=n_children, unit=" children", leave=False,
            disable=True if rich or not trainer.is_global_zero else None,
        )  # fmt: skip

    def _here(self, prepared: _Prepared, children: Sequence[Sample]) -> list[Value]:
        runner, batches = prepared
        if runner is None:
            return [self._alone(child, batches) for child in children]
        return self._together(runner, children, batches)

    # In several processes

    def _apart(self, prepared: _Prepared, children: Sequence[Sample], bar: tqdm) -> list[Value]:
        """Score those that begin alike in the same process, as far as shares are equal."""
        steps = self._whole if prepared.runner is None else prepared.runner.steps
        tree = prefix_tree(steps, children)
        shares = tree.shares(min(self._processes, len(children)))
        counts = torch.zeros(len(shares), dtype=torch.int64).share_memory_()

        def work(n: int) -> _Share | ChangedInPlace:
            self._count = partial(counts[n].add_, 1)
            return self._share(prepared, [children[index] for index in shares[n]])

        done = in_processes(
            work, len(shares), watch=lambda: bar.update(int(counts.sum()) - bar.n)
        )  # fmt: skip
        values: dict[int, Value] = {}
        for indices, share in zip(shares, done, strict=True):
            if isinstance(share, ChangedInPlace):
                raise share
            self.calls += share.calls
            values.update(zip(indices, share.values, strict=True))
        return [values[index] for index in range(len(children))]

    def _share(self, prepared: _Prepared, children: list[Sample]) -> _Share | ChangedInPlace:
        """What one of the processes does."""
        before = self.calls
        try:
            return _Share(self._here(prepared, children), self.calls - before)
        except ChangedInPlace as error:
            return error
        except Exception:
            for child in children:
                self._blame(prepared, child)
            raise

    def _blame(self, prepared: _Prepared, child: Sample) -> None:
        """Name a child that cannot be scored."""
        try:
            self._here(prepared, [child])
        except Exception as error:
            raise RuntimeError(f"the child {child} cannot be scored: {error}") from error

    # In this process

    def _together(
        self, runner: ChainRunner, children: Sequence[Sample], batches: list[Any]
    ) -> list[Value]:
        """Score children whose outputs are computed together."""
        values: dict[int, Value] = {}
        before = runner.n_calls
        for index, outputs in runner.outputs(children):
            answers = iter(outputs)
            with answering(self._model, lambda *args, answers=answers, **kwargs: next(answers)):
                values[index] = self._validate(batches)
        self.calls += runner.n_calls - before
        return [values[index] for index in range(len(children))]

    def _alone(self, child: Sample, batches: list[Any]) -> Value:
        """Score a child by the evaluator's own calls of the model."""
        self.calls += 1
        self._whole[0].route(child)
        with self._scorer.statistics():
            return self._validate(batches)

    def _validate(self, batches: list[Any]) -> Value:
        """Validate with the same random numbers for every child, if any are drawn."""
        seed_generators(0)
        value = self._scorer.validate(batches)
        self._count()
        return value

    # What is found out once: the calls to run, and whether the chain gives what the model gives

    def _prepare(self, child: Sample) -> _Prepared:
        batches = [self._scorer.on_device(held) for held in self._scorer.held_out()]
        alone, steps = _Prepared(None, batches), chain_of(self._model)
        if len(steps) == 1:
            return alone
        observer = Observer(self._model, self._space, self._scorer.validate, child, batches)
        if observer.calls is None:
            _logger.info(
                "Every child is run alone: validation_step does not call the model once a batch, "
                "or not with the same inputs for every child, or differentiates its outputs, or "
                "the model writes into its inputs"
            )
            return alone
        runner = partial(ChainRunner, steps, memory=self._memory, probe=child)
        if problem := observer.difference(runner) or self._difference(
            runner(observer.calls), observer.children, batches
        ):
            self._warn(problem)
            return alone
        calibration = [] if self._scorer.calibrator is None else self._scorer.calibrator.calls()
        if calibration and share_norms(steps, observer.children, observer.calls[0]):
            _logger.info(
                "Every child is run alone: steps of %s share a BatchNorm, which has one set of "
                "statistics in a child", type(self._model).__name__,
            )  # fmt: skip
            return alone
        return _Prepared(runner(observer.calls, calibration), batches)

    def _difference(self, runner: ChainRunner, children: list[Sample], batches: list[Any]) -> str:
        """Say which child's score is another when its outputs are computed before; else empty.

        An evaluator may read more of the model than its outputs.
        """
        before = self.calls
        try:
            together = self._together(runner, children, batches)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # whatever the evaluator makes of it
            return f"{type(error).__name__}: {error}"
        finally:
            self.calls = before
        alone = []  # of all three, as other ranks may have to take part in each validation
        for child in children:
            self._whole[0].route(child)
            alone.append(self._validate(batches))
        for child, values in zip(children, zip(together, alone, strict=True), strict=True):
            if not np.allclose(*values, rtol=tolerance() / 100, atol=0, equal_nan=True):
                return f"another score of the child {child}"
        return ""

    def _warn(self, problem: object) -> None:
        _logger.warning(
            "stem, layers and head of %s do not give what its forward gives (%s): every child "
            "is run alone", type(self._model).__name__, problem,
        )  # fmt: skip


class _Prepared(NamedTuple):
    runner: ChainRunner | None
    batches: list[Any]


class _Share(NamedTuple):
    values: list[Value]
    calls: int
