"""A supernet that trains inside a trial of an ``nnictl`` experiment.

NNI's one-shot strategies run on the sequential engine, which has no web page and takes over the
trial's reports while it runs. To be seen, the training runs in a trial that keeps its own line to
the manager: :class:`ManagedTrial` holds it, :class:`ReportValidation` reports along the way.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping
from typing import Any, Literal

import nni
import nni_bootstrap  # noqa: F401
import pytorch_lightning as pl
from nni.runtime.trial_command_channel import get_default_trial_command_channel
from pytorch_lightning.trainer.states import TrainerFn
from pytorch_lightning.utilities import rank_zero_only

from ..support.errors import check_choice

__all__ = ["ManagedTrial", "ReportValidation"]

_HANDED_ON = "NNI_MAGIC_TRIAL_PARAMETERS"


class ManagedTrial:
    """The trial's line to the manager; take it before any strategy runs.

    Outside an experiment NNI gives no parameters, and reports are logged.

    The manager gives a trial its parameters once. Under DDP the first rank takes them, hands them
    on to the ranks that Lightning starts from it, and is the only one to report.

    Attributes
    ----------
    parameters : dict
        What the tuner chose for this trial.
    is_first_rank : bool
        Whether this process speaks for the trial.
    """

    def __init__(self) -> None:
        self.is_first_rank = rank_zero_only.rank == 0  # type: ignore[attr-defined]
        self._channel = get_default_trial_command_channel()
        if not self.is_first_rank and _HANDED_ON in os.environ:
            record = json.loads(os.environ[_HANDED_ON])
        else:
            with warnings.catch_warnings():
                # NNI warns in red of what is meant: a trial may run without a manager.
                warnings.filterwarnings("ignore", ".*Running trial code without runtime")
                record = self._channel.receive_parameter()
        if record is None:
            raise ValueError("NNI's manager has no parameters for this trial; it may have stopped")
        os.environ[_HANDED_ON] = json.dumps(record)
        self.parameters: dict[str, Any] = record["parameters"]
        self._parameter_id = record["parameter_id"]
        self._reports = 0

    def report_intermediate(self, **values: float) -> None:
        """Report a point of the trial's curves.

        The web page draws ``default`` on an axis that all trials share: leave it to what compares.
        Curves of the other names are in the dialog of the trial alone.
        """
        self._send("PERIODICAL", self._reports, values)
        self._reports += 1

    def report_final(self, default: float, **others: float | str) -> None:
        """Report the trial's result."""
        self._send("FINAL", 0, {"default": default, **others})

    def _send(
        self, type: Literal["PERIODICAL", "FINAL"], sequence: int, value: Mapping[str, float | str]
    ) -> None:
        if not self.is_first_rank:
            return
        self._channel.send_metric(
            type=type,
            parameter_id=self._parameter_id,
            trial_job_id=nni.get_trial_id(),
            sequence=sequence,
            value=value,
        )


class ReportValidation(pl.Callback):
    """Lightning callback that reports every validation of a training to the manager.

    Parameters
    ----------
    trial
        The line to the manager.
    metric
        Name of the metric to report as the trial's; the other validation metrics go along.
    """

    def __init__(self, trial: ManagedTrial, metric: str = "val_loss") -> None:
        self.trial = trial
        self.metric = metric

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.sanity_checking or trainer.state.fn != TrainerFn.FITTING:
            return
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        check_choice("metric", self.metric, sorted(metrics))
        others = {name: value for name, value in metrics.items() if name.startswith("val_")}
        step = trainer.global_step
        self.trial.report_intermediate(default=metrics[self.metric], step=step, **others)
