r"""Score many children of a supernet at the speed that the hardware allows.

Children that begin alike compute the beginning once, and at every step of the chain those that
run the same there run it as one batched call. Both are exact, because evaluation mode treats the
members of a batch one by one. With N layers and C candidates, a population of P random children
shares about its first :math:`\log_C P` layers, and the one-step neighbours of a child share half
of all.

The metric is the evaluator's own: its ``validation_step`` runs for every child and batch, and its
call of the model is answered with what was computed before.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from nni.mutable import Sample
from nni.nas.evaluator.pytorch import Lightning
from nni.nas.nn.pytorch import ModelSpace
from torch import nn

from ..children.json_samples import in_space
from ..samplers.uniform import UniformSampler
from ..scoring.scorer import Metric, Scorer, Value
from ..scoring.user_hooks import warn_of_callbacks
from ..supernet.calibration import Calibrator
from ..supernet.chain import ChangedInPlace, answering, chain_of, single_step
from ..supernet.connection import (
    as_supernet,
    callbacks_of,
    check_evaluator,
    connect,
    held_out_data,
    prepare,
    training_data,
)
from ..supernet.evaluator_hooks import EvaluatorHooks
from ..supernet.resume import isolated_randomness, seed_generators
from ..support.errors import check_count
from ..support.modes import Mode
from .execution import ChainRunner, prefix_tree
from .norms import share_norms
from .observation import Observer, canonical

__all__ = ["ChildEvaluator", "ChildScores"]

_logger = logging.getLogger(__name__)


class ChildScores:
    """Scores children with the weights that they inherit, through a scorer that is attached.

    Called with samples, it gives their scores in the same order, and remembers them until the
    weights change. A supernet that is no chain, see :mod:`nni_magic.supernet.chain`, runs one child
    at a time, with the same result.

    Parameters
    ----------
    scorer
        Attached to a trainer, such as that of a strategy's Lightning module in training.
    memory
        Bytes of hidden states and outputs held at once, at least those of one child; children
        that do not fit wait. What operators allocate inside comes on top.

    Attributes
    ----------
    mode : str
        ``min`` or ``max``.
    calls : int
        Steps of children computed so far; see :meth:`needed_calls`.
    """

    def __init__(self, scorer: Scorer, *, memory: int = 2**28) -> None:
        check_count("n_batches", scorer.n_batches)
        check_count("memory", memory)
        self.mode = scorer.mode
        self.calls = 0
        self._scorer = scorer
        self._model: ModelSpace = scorer.module.training_module.model
        self._space = UniformSampler(self._model, seed=0)
        self._whole = single_step(self._model)
        self._memory = memory
        self._prepared: _Prepared | None = None
        self._known: dict[str, float] = {}
        self._version: Any = None

    def _attach(self) -> None:
        """Take over the supernet from whoever has used it meanwhile."""
        self._scorer.router.forget()

    def __call__(self, samples: Sequence[Sample]) -> list[float]:
        """Score children.

        Weights, buffers, modes and random generators stay as they were; the supernet's path is
        then that of some child.

        Raises
        ------
        ValueError
            If a sample is not of this space, the metric is not logged, or there are no batches.
        """
        samples = [in_space(sample, self._space.candidates) for sample in samples]
        if (version := _fingerprint(self._model)) != self._version:
            self._known, self._version = {}, version
        names = [self._space.name(sample) for sample in samples]
        missing = {n: s for n, s in zip(names, samples, strict=True) if n not in self._known}
        if missing:
            self._attach()  # again, as the evaluator may have evaluated something else meanwhile
            children = [canonical(self._space, sample) for sample in missing.values()]
            precision = self._scorer.module.trainer.precision_plugin
            with isolated_randomness(), self._scorer.session(), torch.no_grad():  # noqa: SIM117
                with precision.val_step_context():
                    values = self._values(children)
            self._known.update(zip(missing, self._scorer.reduce(values), strict=True))
        return [self._known[name] for name in names]

    def child(self, sample: Sample) -> nn.Module:
        """Build the stand-alone child that a score is of, to export it or to train it further.

        It has a copy of the weights that it inherits, and BatchNorm statistics of its own, taken
        on the same batches as for the score, and is in the supernet's mode.

        Raises
        ------
        ValueError
            If the sample is not of this space, or there is BatchNorm and no training data.
        """
        sample = in_space(sample, self._space.candidates)
        self._attach()
        return self._scorer.child(sample)

    def needed_calls(self, samples: Sequence[Sample]) -> int:
        """Steps to run for different children when every shared beginning runs once."""
        own = [in_space(sample, self._space.candidates) for sample in samples]
        children = [canonical(self._space, sample) for sample in own]
        return prefix_tree(chain_of(self._model), children).n_calls if children else 0

    def _values(self, children: list[Sample]) -> list[Value]:
        if self._prepared is None:
            self._prepared = self._prepare(children[0])
        runner, batches = self._prepared
        if runner is None:
            return [self._alone(child, batches) for child in children]
        try:
            return self._shared(runner, children, batches)
        except ChangedInPlace as error:
            self._warn(error)
            self._prepared = _Prepared(None, batches)
            return self._values(children)

    def _shared(
        self, runner: ChainRunner, children: list[Sample], batches: list[Any]
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
        self._whole[0].route(child)
        with self._scorer.statistics():
            return self._validate(batches)

    def _validate(self, batches: list[Any]) -> Value:
        """Validate with the same random numbers for every child, if any are drawn."""
        seed_generators(0)
        return self._scorer.validate(batches)

    # What is found out once: the calls to run, and whether the chain gives what the model gives

    def _prepare(self, child: Sample) -> _Prepared:
        batches = [self._scorer.on_device(held) for held in self._scorer.held_out()]
        observer = Observer(self._model, self._space, self._scorer.validate, child, batches)
        if observer.calls is None:
            _logger.info(
                "Every child is run alone: validation_step does not call the model once a batch, "
                "or not with the same inputs for every child, or differentiates its outputs, or "
                "the model writes into its inputs"
            )
            return _Prepared(None, batches)
        steps = chain_of(self._model)
        runner = partial(ChainRunner, memory=self._memory, probe=child)
        if problem := observer.difference(partial(runner, steps)):
            self._warn(problem)
            steps = self._whole
            if observer.difference(partial(runner, steps)):  # in validation the model is another
                return _Prepared(None, batches)
        calibration = [] if self._scorer.calibrator is None else self._scorer.calibrator.calls()
        if calibration and share_norms(steps, observer.children, observer.calls[0]):
            _logger.info(
                "Every child is run alone: steps of %s share a BatchNorm, which has one set of "
                "statistics in a child", type(self._model).__name__,
            )  # fmt: skip
            steps = self._whole
        return _Prepared(runner(steps, observer.calls, calibration), batches)

    def _warn(self, problem: object) -> None:
        _logger.warning(
            "stem, layers and head of %s do not give what its forward gives (%s): every child "
            "is run alone", type(self._model).__name__, problem,
        )  # fmt: skip


class ChildEvaluator(ChildScores):
    """Scores children on the same held-out batches with the weights that they inherit.

    Parameters
    ----------
    supernet
        A trained supernet, or a model space with trained weights, of which a copy is made into one.
    evaluator
        NNI's Lightning evaluator, with ``val_dataloaders``; if the supernet has BatchNorm also
        with ``train_dataloaders``. A DataModule has both.
    metric, mode
        What the score is; see :class:`nni_magic.scoring.scorer.Scorer`.
    n_batches
        Validation batches that make a score.
    calibration_batches
        Training batches on which a child's BatchNorm statistics are taken anew; with 0 the
        supernet's are used as they are, which fit no child. It has no effect without BatchNorm.
    memory
        See :class:`ChildScores`.

    Examples
    --------
    ::

        evaluate = ChildEvaluator(supernet, evaluator)
        losses = evaluate([{"layer_1": "ffn", ...}, {"layer_1": "mha4", ...}])
    """

    def __init__(
        self,
        supernet: ModelSpace,
        evaluator: Lightning,
        *,
        metric: Metric = None,
        mode: Mode | None = None,
        n_batches: int = 4,
        calibration_batches: int = 4,
        memory: int = 2**28,
    ) -> None:
        check_evaluator(evaluator)
        module = EvaluatorHooks(evaluator.module)
        self._connection = module, as_supernet(supernet), evaluator
        prepare(*self._connection)
        warn_of_callbacks(callbacks_of(module))
        loaders = held_out_data(evaluator)
        scorer = Scorer(
            module, metric=metric, mode=mode, n_batches=n_batches,
            loaders=[] if loaders is None else loaders,
            calibrator=Calibrator(
                module, lambda: training_data(evaluator), calibration_batches
            ),
        )  # fmt: skip
        super().__init__(scorer, memory=memory)

    @staticmethod
    def in_training(scorer: Scorer, *, memory: int = 2**28) -> ChildScores:
        """Score children while a strategy trains their supernet; see :class:`ChildScores`."""
        return ChildScores(scorer, memory=memory)

    def _attach(self) -> None:
        connect(*self._connection)
        super()._attach()


class _Prepared(NamedTuple):
    runner: ChainRunner | None
    batches: list[Any]


def _fingerprint(model: nn.Module) -> tuple[Any, ...]:
    """Changes whenever a weight or buffer is written or replaced."""
    weights = [parameter.detach() for parameter in model.parameters()]
    tensors = [*model.parameters(), *model.buffers()]
    versions = tuple((tensor.data_ptr(), tensor._version) for tensor in tensors)
    # torch does not count what a fused optimizer writes, nor what goes through ``.data``.
    norms = torch.stack(torch._foreach_norm(weights)).tolist() if weights else []
    return versions, tuple(norms)
