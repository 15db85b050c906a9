"""One ``nnictl`` experiment for the whole pipeline: supernet, then search, then retraining.

:class:`MagicTuner` only decides which trial starts when; the work is the trial's, see
:mod:`nni_magic.manager.pipeline`. In an experiment's YAML::

    trialCommand: python my_trial.py
    trialConcurrency: 2
    maxTrialNumber: 20          # see below
    searchSpace: {}
    tuner:
      className: nni_magic.manager.tuner.MagicTuner
      codeDirectory: .          # NNI wants one; any folder that exists
      classArgs: {generations: 10, top_k: 3, baselines: [bert], optimize_mode: minimize}

or, once it is registered with ``nnictl algo register --meta magic.yml``, ``tuner: {name: Magic,
classArgs: ...}``, where ``magic.yml`` is ::

    algoType: advisor
    builtinName: Magic
    className: nni_magic.manager.tuner.MagicTuner

An experiment needs ``1 + generations * (children or 1) + top_k + len(baselines)`` trials, and one
more for each that fails. With exactly as many as ``maxTrialNumber`` it ends with NNI's status
``DONE``; with some in reserve, or none set, with ``TUNER_NO_MORE_TRIAL``, which is shown only when
nothing is left to do. Fewer end it too early: NNI tells its tuner no limit.
"""

from __future__ import annotations

import itertools
import json
import logging
import re
from collections.abc import Sequence
from typing import Any, Literal

from nni.runtime.msg_dispatcher_base import MsgDispatcherBase
from nni.runtime.tuner_command_channel import CommandType

from ..support.errors import check_choice, check_count
from .schedule import Schedule, pipeline_steps
from .stages import Task

__all__ = ["MagicTuner"]

_logger = logging.getLogger(__name__)


class MagicTuner(MsgDispatcherBase):
    """NNI tuner that leads an experiment through the pipeline.

    A task is done when a trial's result names it under ``task``, as those of
    :class:`~nni_magic.manager.pipeline.Pipeline` do. If it is not when all trials of its step have
    ended, it is tried once more; then the pipeline goes on without it, with a warning in the
    dispatcher's log. Only a supernet cannot be done without: the experiment ends with NNI's
    status ``ERROR``. To NNI a trial cancelled in the web page looks like one that was killed, so
    it is tried again as well. ``nnictl stop`` and ``nnictl resume`` lose nothing and repeat
    nothing that was done; what had been given up is tried anew, unless a later step was reached.

    It is of NNI's kind *advisor*, because a ``nni.tuner.Tuner`` is told neither which trials NNI
    runs again at a resume nor how they end, and cannot wait for a trial without NNI showing that
    there are no more.

    Parameters
    ----------
    generations
        Generations of the search.
    top_k
        How many of the best children to train from scratch, in a trial each.
    children
        Children of a generation, to score each in a trial of its own: the size of the trial's
        :class:`~nni_magic.search.population.Population`. By default one trial scores them all.
    baselines
        Names of models to train beside the children, in a trial each.
    optimize_mode
        For NNI's web page, which takes it for the direction in which a trial's result is better:
        ``minimize`` for a loss. The search goes by the ``mode`` of the trial's population.

    Raises
    ------
    TypeError, ValueError
        If an argument is not accepted. The message is in the experiment's ``dispatcher.log``.
    """

    def __init__(
        self,
        *,
        generations: int,
        top_k: int = 1,
        children: int | None = None,
        baselines: Sequence[str] = (),
        optimize_mode: Literal["maximize", "minimize"] = "maximize",
    ) -> None:
        check_count("generations", generations)
        check_count("top_k", top_k, at_least=0)
        if children is not None:
            check_count("children", children)
        _check_names(baselines)
        check_choice("optimize_mode", optimize_mode, ("maximize", "minimize"))
        steps = pipeline_steps(generations, top_k, children, baselines)
        _logger.info("The pipeline needs %d trials if none fails", sum(map(len, steps)))
        self.schedule = Schedule(steps)
        self._free = 0
        self._ids = itertools.count()
        super().__init__()  # connects to the manager
        receive = self._channel._receive
        self._channel._receive = lambda: _sealed(*receive())

    def enqueue_command(self, command: CommandType, data: Any) -> None:
        """Take a message of the manager, which may hold what a trial wrote, as plain JSON."""
        try:
            data = json.loads(bytes.fromhex(data)) if data else data
        except ValueError as error:
            _logger.warning("A message of the manager is passed over: %s", error)
            return
        # NNI's base gives the ends of trials to a second thread, where they lose their order.
        self.default_command_queue.put((command, data))

    def handle_initialize(self, data: Any) -> None:
        self.send(CommandType.Initialized, "")

    def handle_update_search_space(self, data: Any) -> None:
        """There is none: the children are the trial's."""

    def handle_report_metric_data(self, data: dict[str, Any]) -> None:
        # A trial added by hand in the web page has no parameter_id.
        if data["type"] == "FINAL" and data["parameter_id"] is not None:
            self._take_result(data["value"])

    def handle_import_data(self, data: list[dict[str, Any]]) -> None:
        """Take note of the trials that succeeded before the experiment was resumed."""
        for trial in data:
            self._take_result(trial["value"])

    def handle_add_customized_trial(self, data: list[dict[str, Any]]) -> None:
        """Take note of the trials that a stop interrupted: NNI has begun to run them again."""
        self._ids = itertools.count(self.recover_parameter_id(data) + 1)
        for trial in data:
            self._free -= 1  # NNI will ask for as many trials as if these were not there
            if trial["parameter_id"] is not None:
                self.schedule.resumed(trial["parameters"])

    def handle_request_trial_jobs(self, data: int) -> None:
        self._free += data
        self._start_trials()

    def handle_trial_end(self, data: dict[str, Any]) -> None:
        if json.loads(data["hyper_params"])["parameter_id"] is None:
            return
        for task in self.schedule.ended():
            self._give_up(task)
        self._start_trials()

    def _take_result(self, value: Any) -> None:
        try:
            if isinstance(value, str):  # JSON inside of JSON, as NNI sends what trials report
                value = json.loads(value)
            name = value.get("task") if isinstance(value, dict) else None
            self.schedule.done(str(name))
        except ValueError as error:
            _logger.warning("The result %s of a trial is passed over: %s", value, error)

    def _give_up(self, task: Task) -> None:
        message = f"{task} failed {Schedule.attempts} times"
        if task.stage == "supernet":
            _logger.error("%s, and nothing can follow", message)
            self.report_error(f"{message}, and nothing can follow; see the logs of its trials")
        else:
            _logger.warning("%s; going on without it", message)

    def _start_trials(self) -> None:
        while self._free > 0 and (parameters := self.schedule.take()):
            self._free -= 1
            trial = {
                "parameter_id": next(self._ids),
                "parameter_source": "algorithm",
                "parameters": parameters,
                "parameter_index": 0,
            }
            self.send(CommandType.NewTrialJob, json.dumps(trial))
        if self.schedule.finished:
            self.send(CommandType.NoMoreTrialJobs, "")


def _sealed(command: CommandType | None, data: str | None) -> tuple[CommandType | None, str | None]:
    """Make of a message's text a string without any structure, which NNI's base only unquotes.

    The base decodes with ``nni.load``, which unpickles what a text asks it to: a trial's report
    would run code in the manager's process.
    """
    return command, json.dumps(data.encode().hex()) if data else data


def _check_names(baselines: Any) -> None:
    """Check names, which become parts of the names of files."""
    if not isinstance(baselines, (list, tuple)):
        raise TypeError(f"baselines is {baselines!r}; accepted are lists of names")
    for name in baselines:
        if not isinstance(name, str) or not re.fullmatch(r"[\w-][\w.-]*", name):
            raise ValueError(
                f"baselines holds {name!r}; accepted are names of letters, digits, '_', '-' and '.'"
            )
    if len(set(baselines)) < len(baselines):
        raise ValueError(f"baselines is {baselines!r}; accepted are names that differ")
