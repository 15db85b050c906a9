"""Run an experiment through ``nnictl`` in the foreground, and print its results as one table.

::

    nni-magic demo [FOLDER]
    nni-magic demo --experiment my.yml --keep

The first writes the example ``bert_search`` into the folder, unless it is there, and runs it. The
manager and its web page are up meanwhile; with ``--keep`` they stay until ``nnictl stop``.
"""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nni_bootstrap  # noqa: F401
from nni.experiment import Experiment

from ..manager.schedule import pipeline_steps
from ..manager.tuner import MagicTuner
from ..support.errors import naming
from ..support.yaml_files import read_settings
from .example import write
from .main import arguments
from .options import replaced
from .reports import pipeline_table, strategies_table
from .settings import DemoSettings

__all__ = ["create", "follow", "free_port", "report", "run"]

NO_MORE = {"DONE", "STOPPED", "NO_MORE_TRIAL", "TUNER_NO_MORE_TRIAL"}
TUNED = ("train", "fine-tune")
"""Programs whose settings a tuner may choose; to others its parameters mean something else."""
ENDED = {"SUCCEEDED", "FAILED", "USER_CANCELED", "SYS_CANCELED", "EARLY_STOPPED"}


def free_port(preferred: int) -> int:
    """The preferred port if it is free, or else one that is."""
    for port in (preferred, 0):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return probe.getsockname()[1]
    raise OSError("no port is free")


def nnictl(*words: str) -> subprocess.CompletedProcess[str]:
    """Run ``nnictl``; what it prints is in the result.

    What is installed beside this Python comes first: ``nnictl``, and ``nni-magic`` in the trials.
    """
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    environment = {**os.environ, "PATH": path}
    return subprocess.run(
        ["nnictl", *words],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment,
    )  # fmt: skip


def create(config: Path, port: int) -> str:
    """Start the experiment with ``nnictl create``; gives its id.

    Raises
    ------
    RuntimeError
        If ``nnictl`` refuses, with what it printed.
    """
    command = ["create", "--config", str(config), "--port", str(port)]
    for _ in range(5):  # NNI gives its manager only 4 s to answer, and a busy machine is slower
        done = nnictl(*command)
        plain = re.sub(r"\x1b\[\d*m", "", done.stdout)
        if "Create experiment failed" not in plain:
            break
    found = re.search(r"nnictl stop (\w+)", plain)
    if done.returncode != 0 or found is None:
        raise RuntimeError(f"nnictl {' '.join(command)} failed:\n{plain}")
    return found.group(1)


def check_command(config: Mapping[str, Any]) -> None:
    """Refuse settings of the trials before the first one starts: all of them would fail.

    Commands other than ``nni-magic`` are not looked at.

    Raises
    ------
    ValueError
        If a setting of the command, or one that the tuner may choose, is not accepted.
    """
    words = shlex.split(str(config.get("trialCommand", "")))
    if words[:1] != ["nni-magic"] or len(words) < 2 or "--help" in words:
        return
    with naming("trialCommand"):
        *_, settings = arguments(words[1], words[2:])
    if words[1] not in TUNED:
        return
    for name, values in (config.get("searchSpace") or {}).items():
        with naming("searchSpace"):
            for value in values.get("_value", ()) if values.get("_type") == "choice" else ():
                replaced(settings, {name: value})


def planned_trials(config: Mapping[str, Any]) -> int:
    """How many trials an experiment needs if none fails; a pipeline may take more for retries."""
    tuner = config.get("tuner") or {}
    if tuner.get("className") != f"{MagicTuner.__module__}.{MagicTuner.__name__}":
        return config["maxTrialNumber"]
    given = {"top_k": 1, "children": None, "baselines": (), **tuner["classArgs"]}
    given.pop("optimize_mode", None)
    return min(sum(map(len, pipeline_steps(**given))), config["maxTrialNumber"])


def follow(experiment: Experiment, trials: int, planned: int | None = None) -> list[Any]:
    """Print a line when a trial starts and when it ends; gives all trials at the end.

    Parameters
    ----------
    experiment
        The experiment, running.
    trials
        How many trials it may have.
    planned
        How many it needs if none fails; by default all that it may have.
    """
    seen: dict[str, str] = {}
    while True:
        status = experiment.get_status()
        jobs = sorted(experiment.list_trial_jobs(), key=lambda job: job.startTime or 0)
        for number, job in enumerate(jobs, 1):
            if job.status != seen.get(job.trialJobId) and job.status in {"RUNNING", *ENDED}:
                seen[job.trialJobId] = job.status
                print(_line(number, max(number, planned or trials), job), flush=True)
        ended = sum(job.status in ENDED for job in jobs)
        if ended >= trials or (status in NO_MORE and ended == len(jobs)):
            return jobs
        if status == "ERROR":
            raise RuntimeError(f"the experiment's status is {status}; see nnictl log stderr")
        time.sleep(2)


def _line(number: int, trials: int, job: Any) -> str:
    given = job.hyperParameters[0].parameters
    words = [str(v) if isinstance(v, str) else f"{name} {v}" for name, v in given.items()]
    line = f"trial {number}/{trials}  {', '.join(words):<22} {job.status.lower()}"
    if job.status == "SUCCEEDED":
        seconds = (job.endTime - job.startTime) / 1000
        result = job.finalMetricData[0].data
        line += f" after {seconds:.0f} s, loss {result['default']:.3f}"
        if "accuracy" in result:
            line += f", accuracy {result['accuracy']:.3f}"
    return line


def report(jobs: list[Any], root: Path) -> bool:
    """Print the table and where the files are; return whether all trials succeeded."""
    succeeded = [Path(job.logPath) for job in jobs if job.status == "SUCCEEDED"]
    failed = [job for job in jobs if job.status != "SUCCEEDED"]
    shared = root / "pipeline"
    if shared.is_dir():
        print(f"\n{pipeline_table(shared)}")
    elif succeeded:
        print(f"\n{strategies_table(succeeded)}")
    for job in failed:
        log = Path(job.logPath) / "trial.log"
        lines = log.read_text().splitlines() if log.is_file() else []
        errors = [line for line in lines if "error:" in line]
        print(f"\n{job.trialJobId} {job.status.lower()}: {errors[-1] if errors else log}")
    print(f"\nFiles: {shared if shared.is_dir() else root}, and of the trials:")
    for folder in succeeded:
        print(f"  {folder}")
    return not failed


def run(settings: DemoSettings) -> None:
    """Create, follow, report, stop; the status is 1 if a trial failed.

    Raises
    ------
    FileNotFoundError
        If there is no such experiment.
    """
    path = settings.experiment or _example(settings)
    config = read_settings("experiment", path)
    for name in ("experimentWorkingDirectory", "maxTrialNumber"):
        if name not in config:
            raise ValueError(f"experiment {str(path)!r} lacks {name!r}")
    check_command(config)
    root = (path.parent / config["experimentWorkingDirectory"]).resolve()
    port, keep = free_port(settings.port), False
    experiment_id = create(path, port)
    try:
        page = f"http://127.0.0.1:{port}"
        print(f"Experiment {experiment_id} runs; its web page: {page}/oview and {page}/detail")
        jobs = follow(Experiment.connect(port), config["maxTrialNumber"], planned_trials(config))
        good = report(jobs, root / experiment_id)
        keep = settings.keep
    finally:
        if keep:
            print(f"The manager stays up at {page}; end it with: nnictl stop {experiment_id}")
        else:
            nnictl("stop", experiment_id).check_returncode()
    sys.exit(0 if good else 1)


def _example(settings: DemoSettings) -> Path:
    """The example's file in the user's folder; one that is there is taken, changed or not."""
    path = settings.folder / f"{settings.example}.yml"
    return path if path.exists() else write(settings.example, settings.folder)
