"""What the part of the managers starts, waits for and finds."""

import os
import re
import subprocess
import sys
from types import SimpleNamespace

import pytest
import yaml

from experiments.faults import managers
from experiments.faults.managers import _experiment, _over, _wait, processes_of
from nni_magic.programs.main import PROGRAMS
from nni_magic.programs.options import read
from nni_magic.tasks.registry import TASKS


def test_trials_have_settings_that_are_accepted(tmp_path):
    config = yaml.safe_load(_experiment(tmp_path, tmp_path).read_text())
    command, program, task, *words = config["trialCommand"].split()
    assert (command, program) == ("nni-magic", "pipeline")
    assert read(PROGRAMS[program].settings, words, TASKS[task].settings).population == 3


def test_processes_of_an_experiment_are_found_by_command_and_environment():
    sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
    with (
        subprocess.Popen([*sleep, "x7q"]) as manager,
        subprocess.Popen(sleep, env={**os.environ, "NNI_EXP_ID": "x7q"}) as trial,
        subprocess.Popen([*sleep, "other"]) as other,
    ):
        started = [manager, trial, other]
        try:
            found = {process.pid for process in processes_of("x7q")}
        finally:
            for each in started:
                each.kill()
    assert found == {manager.pid, trial.pid}


def test_waiting_has_an_end(monkeypatch):
    monkeypatch.setattr(managers, "MINUTES", 0.01)
    with pytest.raises(TimeoutError, match=re.escape("minutes for x")):
        _wait(lambda: False, "x")
    _wait(lambda: True, "x")


@pytest.mark.parametrize(("status", "jobs", "over"), [
    ("RUNNING", ["SUCCEEDED"], False), ("TUNER_NO_MORE_TRIAL", ["RUNNING"], False),
    ("TUNER_NO_MORE_TRIAL", ["SUCCEEDED", "FAILED"], True),
])  # fmt: skip
def test_experiment_is_over_when_its_trials_are(status, jobs, over):
    manager = SimpleNamespace(
        get_status=lambda: status,
        list_trial_jobs=lambda: [SimpleNamespace(status=each) for each in jobs],
    )
    assert _over(manager) is over


def test_experiment_that_failed_is_an_error():
    with pytest.raises(RuntimeError, match="status is ERROR"):
        _over(SimpleNamespace(get_status=lambda: "ERROR"))
