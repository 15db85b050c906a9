"""The trial's own line to NNI's manager, with a channel that records instead of one that sends."""

import json
import logging
import os
import warnings

import nni
import pytest
import pytorch_lightning as pl
from nni.runtime import trial_command_channel
from nni.runtime.trial_command_channel import TrialCommandChannel
from nni.runtime.trial_command_channel.standalone import StandaloneTrialCommandChannel
from pytorch_lightning.utilities import rank_zero_only
from spaces import ConvSpace
from training import classification, make, train

from nni_magic.manager.trial import ManagedTrial, ReportValidation

PARAMETERS = {"strategy": "spos", "k": 2}


class FakeChannel(TrialCommandChannel):
    """Stands for NNI's manager: gives the parameters once, and keeps what is reported."""

    def __init__(self, records=({"parameter_id": 7, "parameters": PARAMETERS},)):
        self.records = list(records)
        self.metrics = []

    def receive_parameter(self):
        return self.records.pop(0) if self.records else None

    def send_metric(self, **metric):
        self.metrics.append(metric)


@pytest.fixture
def use_channel(monkeypatch):
    previous = trial_command_channel.get_default_trial_command_channel()
    monkeypatch.setattr(nni.trial, "_params", None)
    monkeypatch.setenv("NNI_MAGIC_TRIAL_PARAMETERS", "")  # so that it is taken away afterwards
    monkeypatch.delenv("NNI_MAGIC_TRIAL_PARAMETERS")
    yield trial_command_channel.set_default_trial_command_channel
    trial_command_channel.set_default_trial_command_channel(previous)


@pytest.fixture
def channel(use_channel):
    return use_channel(FakeChannel())


class Validations(pl.Callback):
    """What a report could have taken: the metrics of every validation, and the sanity checks."""

    def __init__(self):
        self.metrics, self.sanity_checks = [], 0

    def on_validation_end(self, trainer, module):
        if trainer.sanity_checking:
            self.sanity_checks += 1
        else:
            self.metrics.append({k: float(v) for k, v in trainer.callback_metrics.items()})


class ReportedByNNI(pl.Callback):
    """Reports as NNI's documentation says, which the strategy's engine takes for itself."""

    def on_validation_end(self, trainer, module):
        nni.report_intermediate_result(0.123)


def run(report, *more, **trainer):
    """Train for three epochs and give the validations."""
    seen = Validations()
    evaluator = classification(report, **trainer)
    evaluator.trainer.callbacks[:0] = [seen, *more]
    train(make("spos"), ConvSpace(), evaluator)
    return seen


def test_parameters_are_what_the_tuner_chose(channel):
    trial = ManagedTrial()
    assert trial.parameters == PARAMETERS
    assert channel.records == []
    assert channel.metrics == []


def test_validations_are_reported_while_the_engine_runs_a_strategy(channel):
    trial = ManagedTrial()
    seen = run(ReportValidation(trial))
    assert len(seen.metrics) == 3
    assert [metric["value"] for metric in channel.metrics] == [
        {
            "default": metrics["val_loss"],
            "val_loss": metrics["val_loss"],
            "val_acc": metrics["val_acc"],
            "step": step,
        }
        for metrics, step in zip(seen.metrics, (6, 12, 18), strict=True)
    ]
    assert [metric["sequence"] for metric in channel.metrics] == [0, 1, 2]
    assert {metric["type"] for metric in channel.metrics} == {"PERIODICAL"}
    assert {metric["parameter_id"] for metric in channel.metrics} == {7}
    assert {metric["trial_job_id"] for metric in channel.metrics} == {nni.get_trial_id()}


def test_reports_by_nni_itself_do_not_pass_the_engine(channel):
    run(ReportValidation(ManagedTrial()), ReportedByNNI())
    assert len(channel.metrics) == 3
    assert all(metric["value"]["default"] != 0.123 for metric in channel.metrics)


def test_another_metric_is_the_trials_curve_when_named(channel):
    seen = run(ReportValidation(ManagedTrial(), "val_acc"))
    defaults = [metric["value"]["default"] for metric in channel.metrics]
    assert defaults == [metrics["val_acc"] for metrics in seen.metrics]
    assert defaults != [metrics["val_loss"] for metrics in seen.metrics]


def test_unknown_metric_is_named_with_those_that_are_logged(channel):
    with pytest.raises(ValueError, match=r"metric is 'val_f1'; accepted are .*'val_acc', 'val_"):
        run(ReportValidation(ManagedTrial(), "val_f1"))
    assert channel.metrics == []


@pytest.mark.parametrize("sanity_steps", [0, 2])
def test_sanity_checks_are_not_reported(channel, sanity_steps):
    seen = run(ReportValidation(ManagedTrial()), num_sanity_val_steps=sanity_steps)
    assert seen.sanity_checks == (sanity_steps > 0)
    assert [metric["value"]["step"] for metric in channel.metrics] == [6, 12, 18]


def test_validation_after_training_is_not_reported(channel):
    callback = ReportValidation(ManagedTrial())
    run(callback)
    evaluator = classification(callback)
    evaluator.module.set_model(ConvSpace().freeze({f"block_{n}": "conv1" for n in range(1, 5)}))
    evaluator.trainer.validate(evaluator.module, evaluator.val_dataloaders, verbose=False)
    values = [metric["value"] for metric in channel.metrics]  # floats are NNI's own reports
    assert [value["step"] for value in values if isinstance(value, dict)] == [6, 12, 18]


def test_final_result_follows_on_the_same_line_after_the_strategy(channel):
    trial = ManagedTrial()
    run(ReportValidation(trial))
    trial.report_final(1.5, params=10)
    assert channel.metrics[-1] == {
        "type": "FINAL",
        "parameter_id": 7,
        "trial_job_id": nni.get_trial_id(),
        "sequence": 0,
        "value": {"default": 1.5, "params": 10},
    }
    assert len(channel.metrics) == 4


def test_two_strategies_in_a_trial_make_one_curve(channel):
    trial = ManagedTrial()
    run(ReportValidation(trial))
    run(ReportValidation(trial))
    assert [metric["sequence"] for metric in channel.metrics] == list(range(6))


def test_manager_without_parameters_is_an_error(use_channel):
    use_channel(FakeChannel(records=[]))
    with pytest.raises(ValueError, match="NNI's manager has no parameters for this trial"):
        ManagedTrial()


def test_standalone_run_has_no_parameters_and_logs_its_reports(use_channel, caplog, monkeypatch):
    use_channel(StandaloneTrialCommandChannel())
    monkeypatch.setattr(logging.getLogger("nni"), "propagate", True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # NNI's, that there is no manager
        trial = ManagedTrial()
    assert trial.parameters == {}
    with caplog.at_level(logging.INFO, "nni"):
        trial.report_intermediate(default=0.5)
        trial.report_intermediate(default=0.25, step=2)
        trial.report_final(0.125)
    assert [record.getMessage() for record in caplog.records] == [
        "Intermediate result: {'default': 0.5}  (Index 0)",
        "Intermediate result: {'default': 0.25, 'step': 2}  (Index 1)",
        "Final result: {'default': 0.125}",
    ]


def test_first_rank_hands_its_parameters_on_and_speaks_alone(channel, monkeypatch):
    first = ManagedTrial()
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    second = ManagedTrial()  # would be refused: the manager gives the parameters once
    assert second.parameters == PARAMETERS
    second.report_intermediate(default=2.0)
    second.report_final(2.0)
    assert channel.metrics == []
    first.report_intermediate(default=1.0)
    assert [metric["value"] for metric in channel.metrics] == [{"default": 1.0}]
    assert (first.is_first_rank, second.is_first_rank) == (True, False)


def test_parameters_that_are_handed_on_run_no_code(channel, monkeypatch):
    handed_on = {"parameter_id": 1, "parameters": {"k": {"__nni_type__": "path:os.getcwd"}}}
    assert nni.load(json.dumps(handed_on))["parameters"]["k"] is os.getcwd
    monkeypatch.setenv("NNI_MAGIC_TRIAL_PARAMETERS", json.dumps(handed_on))
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    assert ManagedTrial().parameters == handed_on["parameters"]


def test_first_rank_asks_the_manager_even_in_a_process_that_a_trial_started(channel):
    ManagedTrial()
    channel.records.append({"parameter_id": 8, "parameters": {"strategy": "magic_t"}})
    assert ManagedTrial().parameters == {"strategy": "magic_t"}
