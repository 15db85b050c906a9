"""Experiments of ``nnictl``: the manager and its trials are killed and the experiment resumed."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nni_bootstrap  # noqa: F401
import psutil
import yaml
from nni.experiment import Experiment

from experiments.faults.processes import forked, in_workers, last_line
from experiments.faults.runs import differences, write_corpus
from experiments.faults.tried import Campaign, Part, Tried
from nni_magic.programs.demo import ENDED, create, free_port, nnictl

__all__ = ["MANAGERS"]

TRIAL = (
    "nni-magic pipeline bert --strategy magic_at --preset tiny --threads 1 --epochs 2 "
    "--epoch-steps 6 --batch-size 2 --warmup-steps 2 --warmup-epochs 1 --validation-batches 1 "
    "--validation-children 2 --anchor-interval 2 --anchor-candidates 2 --population 3 "
    "--retrain-epochs 2"
)
MOMENTS = {
    "while the supernet is trained": "supernet.ckpt",
    "while children are searched or trained": "search.json",
}
"""Managers die when this file is there."""

MINUTES = 8


def _experiment(folder: Path, data: Path) -> Path:
    where = f"--corpus {data / 'corpus'} --cache {data / 'cache'}"
    tuner = {"className": "nni_magic.manager.tuner.MagicTuner", "codeDirectory": str(folder),
             "classArgs": {"generations": 2, "top_k": 1, "optimize_mode": "minimize"}}  # fmt: skip
    config = {
        "experimentName": "faults", "experimentWorkingDirectory": str(folder / "runs"),
        "trialCodeDirectory": str(folder), "trialCommand": f"{TRIAL} {where}",
        "trialConcurrency": 1, "maxTrialNumber": 8, "searchSpace": {}, "tuner": tuner,
        "trainingService": {"platform": "local"},
    }  # fmt: skip
    path = folder / "experiment.yml"
    path.write_text(yaml.safe_dump(config))
    return path


def processes_of(experiment: str) -> list[psutil.Process]:
    """The manager, whose command names the experiment, and its trials, by their environment."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            ours = process.environ().get("NNI_EXP_ID") == experiment
            if ours or experiment in process.cmdline():
                found.append(process)
    return found


def _wait(what: Callable[[], Any], name: str) -> None:
    deadline = time.monotonic() + 60 * MINUTES
    while not what():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {MINUTES} minutes for {name}")
        time.sleep(0.3)


def _over(experiment: Experiment) -> bool:
    status = experiment.get_status()
    if status == "ERROR":
        raise RuntimeError("the experiment's status is ERROR")
    jobs = experiment.list_trial_jobs()
    return status in {"TUNER_NO_MORE_TRIAL", "NO_MORE_TRIAL", "DONE"} and all(
        job.status in ENDED for job in jobs
    )


def _run(folder: Path, data: Path, moment: str | None) -> None:
    """Run an experiment, and end it and resume it at a moment."""
    os.environ["HOME"] = str(folder)  # where NNI keeps its list of experiments
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ["PYTHONPATH"] = os.pathsep.join([os.getcwd(), os.environ.get("PYTHONPATH", "")])
    port = free_port(0)
    experiment = create(_experiment(folder, data), port)
    pipeline = folder / "runs" / experiment / "pipeline"
    try:
        if moment is not None:
            _wait((pipeline / MOMENTS[moment]).exists, MOMENTS[moment])
            killed = processes_of(experiment)
            for process in killed:
                process.kill()
            psutil.wait_procs(killed)
            nnictl("stop", experiment)
            port = _resume(experiment)
        manager = Experiment.connect(port)
        _wait(lambda: _over(manager), "the experiment's end")
    finally:
        nnictl("stop", experiment)
        for process in processes_of(experiment):
            process.kill()


def _resume(experiment: str) -> int:
    """Resume, again where the manager was slow, as NNI gives it only 4 s; gives its port."""
    for _ in range(5):
        port = free_port(0)
        done = nnictl("resume", experiment, "--port", str(port))
        if "Create experiment failed" not in done.stdout:
            break
        nnictl("stop", experiment)
    if done.returncode:
        raise RuntimeError(f"nnictl resume failed: {done.stdout}")
    return port


def _forked_run(folder: Path, data: Path, moment: str | None) -> str:
    folder.mkdir()
    log = folder / "log.txt"
    status = forked(_run, folder, data, moment, log=log, timeout=120 * MINUTES)
    return f"status {status}: {last_line(log)}" if status else ""


def managers(campaign: Campaign) -> list[Tried]:
    """Kill two managers, each at a moment of its own, and compare with one that lived."""
    data = campaign.folder / "managers"
    data.mkdir()
    write_corpus(data / "corpus")
    jobs: list[tuple[Path, Path, str | None]] = [(data / "whole", data, None)]
    jobs += [(data / str(n), data, moment) for n, moment in enumerate(MOMENTS)]
    whole, *others = in_workers(_forked_run, jobs, campaign.workers)
    if whole:
        raise RuntimeError(f"the experiment that nobody disturbed: {whole}")
    return [
        Tried(f"manager and trials killed {moment}", wrong or _unlike(data / "whole", folder))
        for (folder, _, moment), wrong in zip(jobs[1:], others, strict=True)
    ]


def _unlike(whole: Path, folder: Path) -> str:
    one, two = (next(each.glob("runs/*/pipeline")) for each in (whole, folder))
    return "; ".join(list(differences(one, two))[:3])


MANAGERS = Part("managers", "managers of nnictl that are killed and resumed", managers)
