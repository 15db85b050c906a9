"""Score child models on held-out batches with the weights of the supernet.

The score of a child is a metric that the evaluator's own ``validation_step`` logs, so that every
Lightning evaluator can be used, or a function of the model's outputs. Two scores may be compared
only if the weights and the batches were the same.
"""

from __future__ import annotations

import contextlib
import copy
import logging
import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, cast

import pytorch_lightning as pl
import torch
from lightning_fabric.utilities import move_data_to_device
from nni.mutable import Sample
from torchmetrics import Metric as TorchMetric

from ..children.samples import digest
from ..supernet.batches import copy_of
from ..supernet.calibration import Calibrator, Statistics
from ..supernet.connection import converted, on_device
from ..supernet.evaluator_steps import loss_of, validate_batch
from ..supernet.hidden_states import Call, ModelNotCalled, capture_call, recorded
from ..supernet.inheritance import check_inherits
from ..supernet.loaders import LoadedBatch
from ..supernet.resume import isolated_randomness
from ..supernet.routing import Router
from ..supernet.stages import in_validation
from ..support.compat import freeze
from ..support.modes import Mode, mode_of
from ..support.snapshot import Snapshot
from .evaluator_state import logged_to, unnoticed, untouched
from .held_out import HeldOut, NoHeldOutData
from .logged import FUNCTION, RETURNED, Logged, Metric, Value
from .user_hooks import is_users

__all__ = ["Metric", "Scorer", "better"]

_logger = logging.getLogger(__name__)
_BEGINNING = ("on_validation_start", "on_validation_epoch_start", "on_validation_batch_start")


def better(a: float, b: float, mode: Mode) -> bool:
    """Tell whether score ``a`` is strictly better than ``b``; not-a-number is worse than any.

    Examples
    --------
    >>> better(0.1, 0.2, "min"), better(0.1, 0.1, "min"), better(float("nan"), 9.9, "min")
    (True, False, False)
    """
    if math.isnan(a) or math.isnan(b):
        return math.isnan(b) and not math.isnan(a)
    return a < b if mode == "min" else a > b


class Scorer:
    """Scores children on the first batches of the validation data.

    Parameters
    ----------
    module
        The Lightning module that trains the supernet, attached to a trainer; its
        ``training_module`` is the evaluator's module.
    metric
        Name under which the evaluator logs the metric, or a function of the model's outputs and
        the batch, whose values are averaged over the batches by their sizes. By default the
        validation loss: what the evaluator logs as ``val_loss``, or else what its
        ``validation_step`` returns. Of several loaders that are read one after another,
        ``val_loss/dataloader_idx_1`` is one loader's, as Lightning names it; a plain name, a
        function and the validation loss are of all loaders together, weighted by batch sizes.
    mode
        Whether a smaller (``min``) or a larger (``max``) metric is better; by default what its
        name tells, see :func:`nni_magic.support.modes.mode_of`.
    n_batches
        How many validation batches make a score: of each loader, if several are read one after
        another. Under DDP every rank takes as many of its own share, and all ranks get the same,
        common score.
    loaders
        The held-out data, in any form that Lightning accepts; by default the trainer's own.
    calibrator
        Takes a child's BatchNorm statistics before it is scored; without it the supernet's are
        used as they are.
    """

    def __init__(
        self,
        module: Any,
        *,
        metric: Metric,
        mode: Mode | None = None,
        n_batches: int,
        loaders: Any = None,
        calibrator: Calibrator | None = None,
    ) -> None:
        self.module = module
        self.metric = metric
        self.mode = mode_of(metric, mode)
        self.n_batches = n_batches
        self.calibrator = calibrator
        self._held_out = HeldOut(module, n_batches, loaders)
        self._snapshot: Snapshot | None = None
        self._metrics: list[TorchMetric] = []
        self._logged = Logged()
        self._output: Any = None

    def __call__(self, sample: Sample) -> float:
        """Score one child; the supernet's path is then this child's.

        The supernet is in evaluation mode meanwhile. Its weights and buffers, the global random
        generators, and the evaluator's attributes, metrics and buffers stay as they were.

        Raises
        ------
        ValueError
            If the metric is not logged, there are no validation batches, or there is BatchNorm to
            calibrate and no training data.
        """
        with isolated_randomness(), self.session():
            self.router.set(sample)
            batches = [self.on_device(held) for held in self.held_out()]
            with self.statistics():
                return self.reduce([self.validate(batches)])[0]

    @property
    def router(self) -> Router:
        """Sets the path of the supernet that is scored."""
        return Router.of(self.module.training_module.model)

    def child(self, sample: Sample) -> torch.nn.Module:
        """Build a stand-alone child with the weights, and the statistics, that are scored.

        It is in the supernet's mode, whose path is then this child's, and in the precision of the
        trainer. Where the evaluator has no held-out data, or does not call ``self.model(...)``, it
        is not compared with the path, and a warning says so.

        Raises
        ------
        ValueError
            If the child gives other outputs than the path on the first held-out batch. Errors of
            the evaluator's own step and hooks are raised as they are.
        """
        model = self.module.training_module.model
        with isolated_randomness(), self.session():
            self.router.set(sample)
            statistics = self.statistics()
        with converted(self.module), statistics:
            # A copy, because freezing leaves the chosen candidates shared with the supernet.
            child = copy.deepcopy(freeze(model, sample)).eval()
            self._compare(child, sample)
        return child.train(model.training)

    def _compare(self, child: torch.nn.Module, sample: Sample) -> None:
        model = self.module.training_module.model
        with isolated_randomness(), self.session():
            try:
                # Behind a fit Lightning has taken the model, and not the data, off its device.
                device = next((p.device for p in model.parameters()), self.module.device)
                batches = move_data_to_device(list(map(self.on_device, self.held_out())), device)
                call = self._first_call(batches)
            except (NoHeldOutData, ModelNotCalled) as error:
                _logger.warning(
                    "Child %s is not compared with its path in the supernet: %s",
                    digest(sample), error,
                )  # fmt: skip
                return
            with self.module.trainer.precision_plugin.val_step_context():
                check_inherits(child, model, sample, call)

    def _first_call(self, batches: Sequence[LoadedBatch]) -> Call:
        """The evaluator's first call of the model; what its hooks have begun has then ended."""
        evaluator = self.module.training_module
        if not any(is_users(getattr(evaluator, name)) for name in _BEGINNING):
            return capture_call(evaluator.model, partial(self._run, batches[:1]))
        with recorded(evaluator.model, {}) as calls:
            self._run(batches)  # to the end: weights may have been swapped, and come back there
        if not calls:
            raise ModelNotCalled("the evaluator's validation_step does not call self.model(...)")
        return calls[0]

    def statistics(self) -> Statistics:
        """BatchNorm statistics of the path that is set, taken within a session."""
        return Statistics([]) if self.calibrator is None else self.calibrator.statistics()

    @contextlib.contextmanager
    def session(self) -> Iterator[None]:
        """Evaluation mode, and what the evaluator logs for the scorer, while children are scored.

        The supernet's modes and the evaluator's attributes, metrics and buffers come back
        afterwards.
        """
        evaluator: pl.LightningModule = self.module.training_module
        if self.calibrator is not None and not self.calibrator.ready:
            with converted(self.module), unnoticed(evaluator):
                self.calibrator.read()  # in the modes that the evaluator has in training
        with (
            converted(self.module),
            logged_to(evaluator, self._log),
            in_validation(self.module),
            untouched(evaluator) as self._snapshot,
        ):
            self._metrics = self._snapshot.found(TorchMetric)
            model = cast(torch.nn.Module, evaluator.model)
            hook = model.register_forward_hook(self._keep_output)
            try:
                yield
            finally:
                hook.remove()

    def validate(self, batches: Sequence[LoadedBatch]) -> Value:
        """Run a validation on batches, on the path that is set, within a session.

        As Lightning's loop does it: the hooks of the validation epoch and of batches that the
        evaluator's module has are called, too, and see this child alone. The trainer's callbacks
        are not called; see :func:`nni_magic.scoring.user_hooks.warn_of_callbacks`.
        """
        self._run(batches)
        return self._logged.value(self.metric)

    def _run(self, batches: Sequence[LoadedBatch]) -> None:
        assert self._snapshot is not None, "within a session"
        self._snapshot.restore()  # what another child has left
        for metric in self._metrics:
            metric.reset()
        self._logged = Logged()
        self._hook("on_validation_start")
        self._hook("on_validation_epoch_start")
        for held in batches:
            self._validation_step(held)
        self._hook("on_validation_epoch_end")
        self._hook("on_validation_end")  # it may undo what the start has done

    def _hook(self, name: str) -> None:
        hook = getattr(self.module.training_module, name)
        if is_users(hook):
            self._logged.batch = None
            with torch.no_grad():
                hook()

    def reset(self) -> None:
        """Forget the batches, so that the trainer's present data are read."""
        self._held_out.reset()
        if self.calibrator is not None:
            self.calibrator.reset()

    def held_out(self) -> list[LoadedBatch]:
        """The batches, on the CPU; see :class:`nni_magic.scoring.held_out.HeldOut`."""
        return self._held_out.read()

    def on_device(self, held: LoadedBatch) -> LoadedBatch:
        """Bring a batch to where the model is, as the trainer does."""
        return held._replace(batch=on_device(self.module, held.batch, held.dataloader_idx or 0))

    def reduce(self, values: Sequence[Value]) -> list[float]:
        """Scores from what :meth:`validate` gave for children; under DDP over all ranks."""
        trainer = self.module.trainer
        sums = torch.tensor([v for v in values if isinstance(v, tuple)], dtype=torch.float64)
        if len(sums) and trainer.world_size > 1:
            sums = trainer.strategy.reduce(sums.to(self.module.device), reduce_op="sum")
        means = iter((sums[:, 0] / sums[:, 1]).tolist() if len(sums) else [])
        return [next(means) if isinstance(value, tuple) else value for value in values]

    def _validation_step(self, held: LoadedBatch) -> None:
        evaluator, logged = self.module.training_module, self._logged
        logged.begin(held)
        self._output = None
        with torch.no_grad(), self.module.trainer.precision_plugin.val_step_context():
            output = validate_batch(evaluator, *held)
            if callable(self.metric):
                if self._output is None:
                    raise ModelNotCalled(
                        "metric is a function of the model's outputs, but the evaluator's "
                        "validation_step does not call self.model(...)"
                    )
                logged(FUNCTION, self.metric(self._output, copy_of(held.batch)))
        loss = loss_of(output)
        if self.metric is None and not logged.has("val_loss") and loss is not None:
            logged(RETURNED, loss)

    def _log(self, *args: Any, **options: Any) -> None:
        self._logged(*args, **options)

    def _keep_output(self, module: Any, args: Any, output: Any) -> None:
        self._output = output
