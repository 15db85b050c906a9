r"""Score many children of a supernet at the speed that the hardware allows.

Children that begin alike compute the beginning once, and at every step of the chain those that
run the same there run it as one batched call. Both are exact, because evaluation mode treats the
members of a batch one by one. With N layers and C candidates, a population of P random children
shares about its first :math:`\log_C P` layers, and the one-step neighbours of a child share half
of all.

The metric is the evaluator's own: its ``validation_step`` runs for every child and batch, and of a
chain its call of the model is answered with what was computed before. Three children are scored
both ways at first; where a score differs, as the evaluator reads more of the model than its
outputs, every child is run alone, as it is where the model is no chain.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from nni.mutable import Sample
from nni.nas.evaluator.pytorch import Lightning
from nni.nas.nn.pytorch import ModelSpace
from torch import nn

from ..children.json_samples import in_space
from ..samplers.uniform import UniformSampler
from ..scoring.scorer import Metric, Scorer
from ..scoring.user_hooks import warn_of_callbacks
from ..supernet.calibration import Calibrator
from ..supernet.chain import chain_of
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
from ..supernet.resume import isolated_randomness
from ..support.errors import check_count
from ..support.modes import Mode
from .child_runs import ChildRuns
from .execution import prefix_tree
from .observation import canonical
from .processes import check_processes

__all__ = ["ChildEvaluator", "ChildScores"]


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
    processes
        See :class:`ChildEvaluator`.

    Attributes
    ----------
    mode : str
        ``min`` or ``max``.
    """

    def __init__(self, scorer: Scorer, *, memory: int = 2**28, processes: int = 1) -> None:
        check_count("n_batches", scorer.n_batches)
        check_count("memory", memory)
        self.mode = scorer.mode
        self._scorer = scorer
        self._model: ModelSpace = scorer.module.training_module.model
        self._space = UniformSampler(self._model, seed=0)
        self._runs = ChildRuns(scorer, self._space, memory=memory, processes=processes)
        self._known: dict[str, float] = {}
        self._version: Any = None

    @property
    def calls(self) -> int:
        """Steps of children computed so far; see :meth:`needed_calls`."""
        return self._runs.calls

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
                    values = self._runs(children)
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
        See :class:`ChildScores`; with several processes each may hold as much.
    processes
        Forks of this process, with one thread of torch each, that share the children of a call
        among them; a Linux process on the CPU can. Scores are those of one process, to the bit
        where an operator gives a row of a batch the same whatever else is in it; those of MKL do
        from four rows on, and those of other libraries may never. What the evaluator's hooks do
        beside logging happens in the forks.

    Raises
    ------
    RuntimeError
        Naming the child, if one cannot be scored in another process.

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
        processes: int = 1,
    ) -> None:
        check_count("processes", processes)
        check_evaluator(evaluator)
        module = EvaluatorHooks(evaluator.module)
        self._connection = module, as_supernet(supernet), evaluator
        prepare(*self._connection)
        check_processes(processes, evaluator.trainer.strategy.root_device)
        warn_of_callbacks(callbacks_of(module))
        loaders = held_out_data(evaluator)
        scorer = Scorer(
            module, metric=metric, mode=mode, n_batches=n_batches,
            loaders=[] if loaders is None else loaders,
            calibrator=Calibrator(
                module, lambda: training_data(evaluator), calibration_batches
            ),
        )  # fmt: skip
        super().__init__(scorer, memory=memory, processes=processes)

    @staticmethod
    def in_training(scorer: Scorer, *, memory: int = 2**28) -> ChildScores:
        """Score children while a strategy trains their supernet; see :class:`ChildScores`."""
        return ChildScores(scorer, memory=memory)

    def _attach(self) -> None:
        connect(*self._connection)
        super()._attach()


def _fingerprint(model: nn.Module) -> tuple[Any, ...]:
    """Changes whenever a weight or buffer is written or replaced."""
    weights = [parameter.detach() for parameter in model.parameters()]
    tensors = [*model.parameters(), *model.buffers()]
    versions = tuple((tensor.data_ptr(), tensor._version) for tensor in tensors)
    # torch does not count what a fused optimizer writes, nor what goes through ``.data``.
    norms = torch.stack(torch._foreach_norm(weights)).tolist() if weights else []
    return versions, tuple(norms)
