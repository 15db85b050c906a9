"""The pipeline on two machines by NNI's remote training service, over real SSH; one is lost."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from hosts import keygen, need_hosts, two_hosts
from nnictl import NnictlExperiment

ROOT = Path(__file__).parents[2]
SMALL = (
    "--strategy spos --epochs 1 --epoch-steps 3 --batch-size 4 --warmup-steps 2 --population 2 "
    "--validation-batches 1 --retrain-epochs 1 --threads 1"
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # mostly imports, on a busy machine


def python_folder(folder):
    """A folder that NNI puts first on a machine's PATH: its ``python`` is this one."""
    folder.mkdir()
    script = f'#!/bin/sh\nexec {sys.executable} "$@"\n'
    for name in ("python", "python3"):
        (folder / name).write_text(script)
        (folder / name).chmod(0o755)
    return folder


def where(hosts, experiment_id):
    """Number of the host that has each trial's output folder, by the trial's id."""
    return {
        trial.name: number
        for number, host in enumerate(hosts)
        for trial in host.home.glob(f"nni-experiments/{experiment_id}/environments/*/trials/*")
    }


def trial_log(hosts, trial_id):
    [log] = [p for host in hosts for p in host.home.rglob(f"trials/{trial_id}/trial.stderr")]
    return log.read_text()


@pytest.fixture(scope="module")
def finished(tmp_path_factory, corpus):
    """Two hosts; the second loses its cable while it scores the first generation."""
    need_hosts()
    folder = tmp_path_factory.mktemp("remote")
    key, python = folder / "key", python_folder(folder / "bin")
    keygen(key)
    program = f"{sys.executable} -m nni_magic.programs pipeline bert {SMALL}"
    with two_hosts(folder) as (network, hosts), network.within():
        for host in hosts:
            host.serve(key, PIP_NO_INDEX=1, OMP_NUM_THREADS=1, PYTHONPATH=ROOT)
        machine = {"user": "root", "sshKeyFile": str(key), "pythonPath": str(python)}
        code = folder / "code"
        code.mkdir()
        (code / "trial.sh").write_text(  # NNI uploads the folder, and refuses an empty one
            f"exec {program} --corpus {corpus} --cache {folder / 'cache'} "
            f"--shared-folder {folder / 'shared'}\n"
        )
        config = {
            "trialCodeDirectory": str(code),
            "trialCommand": "sh trial.sh",
            "trialConcurrency": 1,
            "searchSpace": {},
            "tuner": {
                "className": "nni_magic.manager.tuner.MagicTuner", "codeDirectory": str(code),
                "classArgs": {"generations": 2, "top_k": 1, "baselines": ["bert"]},
            },
            "nniManagerIp": network.address,
            "trainingService": {
                "platform": "remote",
                "machineList": [{"host": host.address, **machine} for host in hosts],
            },
        }  # fmt: skip
        survives = f"--require={ROOT / 'nni_magic/manager/lost_machine.js'}"
        with NnictlExperiment(
            folder, config, PYTHONPATH=str(ROOT), NODE_OPTIONS=survives
        ) as experiment:
            experiment.wait_for(
                lambda jobs: len(jobs) == 2 and jobs[1].status == "RUNNING", seconds=300
            )
            hosts[1].cut_off()
            jobs = experiment.wait_for_end(seconds=400)
            result = SimpleNamespace(
                jobs=jobs, hosts=hosts, id=experiment.id,
                where=where(hosts, experiment.id),
                shared=folder / "shared" / experiment.id,
                tasks=[job.hyperParameters[0].parameters for job in jobs],
                running_on_lost=[line for line in hosts[1].commands() if "nni_magic" in line],
            )  # fmt: skip
        yield result


def test_trial_of_the_lost_machine_is_done_by_the_other(finished):
    """NNI may give the lost trial's parameters to the next one, so their number is not fixed."""
    supernet, lost, *others = finished.jobs
    logs = {i: trial_log(finished.hosts, i) for i in finished.where}
    assert (supernet.status, lost.status) == ("SUCCEEDED", "USER_CANCELED"), logs
    assert {job.status for job in others} == {"SUCCEEDED"}, logs
    assert 4 <= len(others) <= 8
    assert (finished.where[supernet.trialJobId], finished.where[lost.trialJobId]) == (0, 1)
    assert {finished.where[job.trialJobId] for job in others} == {0}
    assert finished.tasks[1] == {"stage": "search", "generation": 1}
    assert finished.tasks[2] == {"stage": "search", "generation": 1, "attempt": 2}


def test_files_of_all_trials_are_in_the_shared_folder(finished):
    files = {path.name for path in finished.shared.iterdir()}
    assert {"supernet.ckpt", "supernet.json", "search.json"} <= files
    assert {"rank_1.json", "baseline_bert.json"} <= files
    search = json.loads((finished.shared / "search.json").read_text())
    assert search["reports"].keys() == {"1", "2"}


def test_lost_machine_ends_its_trials(finished):
    """Its trial keeper does, when it has not reached the manager for half a minute."""
    assert finished.running_on_lost == []
