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

    def __enter__(self):
        port = free_port()
        created = self.nnictl("create", "--config", "experiment.yml", "--port", str(port))
        assert created.returncode == 0, created.stdout
        self.id = re.search(r"nnictl stop (\w+)", created.stdout).group(1)
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
        port = free_port()
        resumed = self.nnictl("resume", self.id, "--port", str(port))
        assert resumed.returncode == 0, resumed.stdout
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
