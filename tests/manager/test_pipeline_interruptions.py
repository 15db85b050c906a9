"""Whatever happens under a real manager, the pipeline leaves what it leaves undisturbed."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from nnictl import NNICTL, NnictlExperiment
from pipeline_trial import Work

from nni_magic.manager.pipeline import Pipeline

TRIAL = Path(__file__).parents[1] / "pipeline_trial.py"
CLASS_NAME = "nni_magic.manager.tuner.MagicTuner"
ALONE = {"stage": "supernet"}
SUPERNET = {"stage": "supernet", "baselines": ["bert"]}
BASELINE = {"stage": "retrain", "baseline": "bert"}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def generation(number, **more):
    return {"stage": "search", "generation": number, **more}


def rank(number):
    return {"stage": "retrain", "rank": number}


def experiment(folder, plan, class_args, concurrency=1, tuner=None):
    """An experiment whose trials do what the plan says when a task starts first."""
    (folder / "plan.json").write_text(json.dumps(plan))
    tuner = tuner or {"className": CLASS_NAME, "codeDirectory": str(folder)}
    config = {
        "trialCodeDirectory": str(folder),
        "trialCommand": f"{sys.executable} {TRIAL} {folder}",
        "trialConcurrency": concurrency,
        "searchSpace": {},
        "tuner": {**tuner, "classArgs": class_args},
    }
    return NnictlExperiment(folder, config, NNI_CONFIG_DIR=str(folder / "config"))


def wait_for(running, what):
    running.wait_for(lambda jobs: what(), seconds=300)


def end(running):
    """Wait until nothing is left to do; gives what the manager believes of each trial."""
    jobs = running.wait_for_end(seconds=300)
    assert "passed over" not in running.log
    return sorted((str(job.hyperParameters[0].parameters), job.status) for job in jobs)


def assert_same_as_undisturbed(folder, running, tasks):
    """As when the tasks are done one after the other in one process, without a manager."""
    reference = folder / "reference"
    reference.mkdir()
    for task in tasks:
        line = SimpleNamespace(
            parameters=task, is_first_rank=True,
            report_intermediate=lambda **report: None, report_final=lambda **report: None,
        )  # fmt: skip
        Work(reference).run(Pipeline(line, reference / "pipeline"))
    shared = folder / "runs" / running.id / "pipeline"
    assert files(shared) == files(reference / "pipeline")
    assert sorted(journal(folder)) == sorted(journal(reference))  # no work is missing or repeated


def files(folder):
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): json.loads(path.read_text()) for path in paths}


def journal(folder):
    return (folder / "journal.txt").read_text().splitlines()


def test_failure_stop_and_resume(tmp_path):
    plan = {"search, generation 1": "fail", "search, generation 2": "hang"}
    class_args = {"generations": 2, "top_k": 1, "baselines": ["bert"]}
    with experiment(tmp_path, plan, class_args) as running:
        wait_for(running, (tmp_path / "search, generation 2.started").exists)
        running.stop()
        running.resume()
        trials = end(running)
        assert "search, generation 1 failed and is tried again" in running.log
    assert running.left == []
    tasks = [SUPERNET, generation(1), generation(2), rank(1), BASELINE]
    succeeded = [SUPERNET, generation(1, attempt=2), *tasks[2:]]
    assert trials == sorted(
        [(str(generation(1)), "FAILED"), *((str(task), "SUCCEEDED") for task in succeeded)]
    )
    assert_same_as_undisturbed(tmp_path, running, tasks)


def test_manager_that_mixes_up_trials_that_start_together(tmp_path):
    """Its first trial of two gets the parameters of the second: one fails, one is interrupted."""
    (tmp_path / "magic.yml").write_text(
        yaml.safe_dump({"algoType": "advisor", "builtinName": "Magic", "className": CLASS_NAME})
    )
    plan = {"late": [1, 6], "search, generation 1, child 2": "fail", "retrain, rank 1": "hang"}
    class_args = {"generations": 1, "children": 4, "top_k": 2, "optimize_mode": "minimize"}
    running = experiment(tmp_path, plan, class_args, 2, tuner={"name": "Magic"})
    registered = subprocess.run(
        [NNICTL, "algo", "register", "--meta", "magic.yml"], cwd=tmp_path, text=True, timeout=60,
        env=running.environment, capture_output=True,
    )  # fmt: skip
    assert "Magic registered" in registered.stdout, registered.stderr
    with running:
        wait_for(running, lambda: any(
            "rank" in str(job.hyperParameters) and job.status == "SUCCEEDED"
            for job in running.manager.list_trial_jobs()
        ))  # fmt: skip
        assert (tmp_path / "retrain, rank 1.started").exists()
        running.stop()
        running.resume()
        trials = end(running)
    assert running.left == []
    children = [generation(1, child=number, children=4) for number in range(1, 5)]
    # What the manager believes to have failed was done; what was interrupted was another one.
    assert (str(children[0]), "FAILED") in trials
    assert (str({**children[1], "attempt": 2}), "SUCCEEDED") in trials
    assert trials.count((str(rank(1)), "SUCCEEDED")) == 2
    assert_same_as_undisturbed(tmp_path, running, [ALONE, *children, rank(1), rank(2)])
