"""Start real experiments with ``nnictl``, watch them, and leave no process behind."""

import contextlib
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import yaml
from nni.experiment import Experiment

NNICTL = Path(sys.executable).parent / "nnictl"
ENDED = {"SUCCEEDED", "FAILED", "USER_CANCELED", "SYS_CANCELED", "EARLY_STOPPED"}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def processes_of(experiment_id):
    """The manager (its command names the experiment) and its trials (their environment does)."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            ours = process.environ().get("NNI_EXP_ID") == experiment_id
            if process.status() != psutil.STATUS_ZOMBIE and (
                ours or experiment_id in process.cmdline()
            ):
                found.append(process)
    return found


def wait_until_gone(experiment_id, seconds=20):
    deadline = time.monotonic() + seconds
    while (left := processes_of(experiment_id)) and time.monotonic() < deadline:
        time.sleep(0.2)
    return left


def log_of(job):
    return (Path(job.logPath) / "trial.log").read_text()


class NnictlExperiment:
    """An experiment of which every file lies in ``folder``.

    Leaving the ``with`` block stops it; ``stopped`` is what nnictl said, and ``left`` are the
    processes that had to be killed.
    """

    def __init__(self, folder, config, **environment):
        self.folder = folder
        self.environment = {
            **os.environ, "HOME": str(folder), "OMP_NUM_THREADS": "1", **environment,
        }  # fmt: skip
        config = {
            "experimentName": "test",
            "experimentWorkingDirectory": str(folder / "runs"),
            "trainingService": {"platform": "local"},
            **config,
        }
        (folder / "experiment.yml").write_text(yaml.safe_dump(config))
        self.id = None
        self.left = []

    def nnictl(self, *arguments):
        return subprocess.run(
            [NNICTL, *arguments], env=self.environment, cwd=self.folder, text=True, timeout=60,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def start(self, *arguments):
        """Create or resume; again when the manager was slow, as NNI gives it only 4 s to answer."""
        for _ in range(5):
            port = free_port()
            started = self.nnictl(*arguments, "--port", str(port))
            if "Create experiment failed" not in started.stdout:
                break
        assert started.returncode == 0, started.stdout
        return port, started.stdout

    def __enter__(self):
        port, said = self.start("create", "--config", "experiment.yml")
        self.id = re.search(r"nnictl stop (\w+)", said).group(1)
        try:
            self.manager = Experiment.connect(port)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self):
        self.stopped = self.nnictl("stop", self.id).stdout
        left = wait_until_gone(self.id)
        for process in left:
            process.kill()
        self.left += left

    def resume(self):
        port, _ = self.start("resume", self.id)
        self.manager = Experiment.connect(port)

    def __exit__(self, *exception):
        self.stop()

    @property
    def processes(self):
        return processes_of(self.id)

    @property
    def log(self):
        """What the tuner logged."""
        return (self.folder / "runs" / self.id / "log" / "dispatcher.log").read_text()

    def wait_for(self, what, seconds=150):
        """Wait until ``what(jobs)`` of the trials in their order is true; gives the trials."""
        deadline = time.monotonic() + seconds
        while True:
            jobs = sorted(self.manager.list_trial_jobs(), key=lambda job: job.sequenceId)
            if what(jobs):
                return jobs
            assert self.manager.get_status() != "ERROR"
            assert time.monotonic() < deadline, [vars(job) for job in jobs]
            time.sleep(0.3)

    def wait_for_end(self, status="TUNER_NO_MORE_TRIAL", seconds=150):
        """Wait until the manager shows ``status`` and every trial has ended; gives the trials.

        The tuner may say that no trial follows while the manager still takes the last one, whose
        result it has, for running.
        """
        self.wait_for(lambda jobs: self.manager.get_status() == status, seconds)
        return self.wait_for(lambda jobs: all(job.status in ENDED for job in jobs), seconds)
