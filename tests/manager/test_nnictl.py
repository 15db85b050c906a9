"""Real experiments: ``nnictl``, NNI's manager, a tuner, and trials that train supernets."""

import csv
import json
import os
import random
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from nnictl import ENDED, NnictlExperiment, log_of, processes_of

ROOT = Path(__file__).parents[2]
SMALL = (
    "--epochs 2 --epoch-steps 3 --batch-size 4 --warmup-steps 2 --warmup-epochs 1 "
    "--anchor-interval 2 --search-children 4 --population 2 --validation-batches 1"
)
CACHES = {
    ".git", ".venv", ".venv-newest", "__pycache__", ".pytest_cache", ".ruff_cache", ".mypy_cache",
}  # fmt: skip


def write_corpus(folder):
    """Documents of random words: enough to train a few steps, too few for 1024 tokens."""
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefghij", k=rng.randint(2, 6))) for _ in range(80)]
    folder.mkdir()
    for number in range(8):
        (folder / f"{number}.txt").write_text(" ".join(rng.choices(words, k=400)))


def files_of_the_project():
    found = set()
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in CACHES]
        found.update(os.path.join(folder, name) for name in files)
    return found


def run_experiment(folder, options, parameters, n_trials, concurrency=1):
    """Create, wait, read back and stop; every file of it lies in ``folder``."""
    write_corpus(folder / "corpus")
    program = f"{sys.executable} -m nni_magic.programs train bert"
    command = f"{program} --cache {folder / 'cache'} {SMALL} {options}"
    config = {
        "trialCodeDirectory": str(ROOT),
        "trialCommand": command,
        "trialConcurrency": concurrency,
        "maxTrialNumber": n_trials,
        **parameters,
    }
    before = files_of_the_project()
    with NnictlExperiment(folder, config) as experiment:
        assert processes_of(experiment.id) != []
        jobs = experiment.wait_for(
            lambda jobs: sum(job.status in ENDED for job in jobs) >= n_trials
        )
        result = SimpleNamespace(
            id=experiment.id,
            folder=folder,
            jobs={job.trialJobId: job for job in jobs},
            parameters=[job.hyperParameters[0].parameters for job in jobs],
            metrics=experiment.manager.get_job_metrics(),
            exported=experiment.manager.export_data(),
        )
    result.stopped, result.left = experiment.stopped, experiment.left
    result.written_elsewhere = files_of_the_project() - before
    return result


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """Two methods, one trial each."""
    folder = tmp_path_factory.mktemp("good")
    space = {"strategy": {"_type": "choice", "_value": ["spos", "magic_at"]}}
    return run_experiment(
        folder,
        f"--corpus {folder / 'corpus'}",
        {"searchSpace": space, "tuner": {"name": "GridSearch"}},
        n_trials=2,
    )


@pytest.fixture(scope="module")
def bad(tmp_path_factory):
    """Three mistakes, one trial each; they train nothing, so they may run at the same time."""
    folder = tmp_path_factory.mktemp("bad")
    corpus = str(folder / "corpus")
    wrong = [
        {"strategy": "no_such_strategy", "corpus": corpus},
        {"strategy": "spos", "corpus": str(folder / "missing")},
        {"strategy": "magic_t", "corpus": corpus, "k": 9},
    ]
    space = {"mistake": {"_type": "choice", "_value": wrong}}
    return run_experiment(
        folder,
        "",
        {"searchSpace": space, "tuner": {"name": "BatchTuner"}},
        n_trials=3,
        concurrency=3,
    )


def folders(experiment):
    """Folder of each trial by the strategy that its own results name."""
    found = {}
    for job in experiment.jobs.values():
        folder = Path(job.logPath)
        results = json.loads((folder / "results.json").read_text())
        found[results["settings"]["strategy"]] = folder
    return found


def test_trials_of_all_strategies_succeed(good):
    assert {job.status for job in good.jobs.values()} == {"SUCCEEDED"}
    assert good.parameters == [{"strategy": "spos"}, {"strategy": "magic_at"}]
    assert folders(good).keys() == {"spos", "magic_at"}


def test_manager_holds_the_curve_and_the_result_of_each_trial(good):
    assert good.metrics.keys() == good.jobs.keys()
    for number, (trial_id, job) in enumerate(good.jobs.items()):
        points = [metric for metric in good.metrics[trial_id] if metric.type == "PERIODICAL"]
        assert [point.sequence for point in points] == [0, 1]
        assert [point.data["step"] for point in points] == [3, 6]
        with (Path(job.logPath) / "metrics.csv").open() as file:
            logged = [float(row["val_loss"]) for row in csv.DictReader(file) if row["val_loss"]]
        assert [point.data["default"] for point in points] == logged
        assert {int(metric.parameterId) for metric in good.metrics[trial_id]} == {number}

        [final] = job.finalMetricData
        results = json.loads((Path(job.logPath) / "results.json").read_text())
        assert final.data == {
            "default": results["best_child"]["val_loss"],
            "random_children_loss": results["random_children_loss"],
            "params": results["best_child"]["params"],
        }


def test_manager_exports_the_results_with_their_parameters(good):
    exported = {result.parameter["strategy"]: result.value["default"] for result in good.exported}
    assert exported == {
        name: json.loads((folder / "best_child.json").read_text())["val_loss"]
        for name, folder in folders(good).items()
    }


@pytest.mark.parametrize("strategy", ["spos", "magic_at"])
def test_trial_leaves_its_files_in_its_own_folder(good, strategy):
    folder = folders(good)[strategy]
    assert good.folder / "runs" / good.id in folder.parents
    results = json.loads((folder / "results.json").read_text())
    best = json.loads((folder / "best_child.json").read_text())
    assert results["best_child"] == best
    assert len(best["sample"]) == 8
    assert (results["children"], results["random_children"]) == (4, 2)
    assert results["steps"] == 6
    checkpoint = torch.load(folder / "supernet.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 6
    assert "error" not in log_of(good.jobs[folder.name])


def test_methods_train_different_supernets_on_the_same_data(good):
    spos, magic_at = (
        json.loads((folder / "results.json").read_text()) for folder in folders(good).values()
    )
    assert spos["corpus"] == magic_at["corpus"]
    assert spos["tokenizer"] == magic_at["tokenizer"]
    assert spos["random_children_loss"] != magic_at["random_children_loss"]


def test_small_corpus_gives_a_small_vocabulary(good):
    [tokenizer] = (good.folder / "cache").glob("tokenizer-*.json")
    assert 261 < len(json.loads(tokenizer.read_text())["model"]["vocab"]) < 1024


@pytest.mark.parametrize("experiment", ["good", "bad"])
def test_experiment_writes_nothing_into_the_project(experiment, request):
    assert request.getfixturevalue(experiment).written_elsewhere == set()


@pytest.mark.parametrize("experiment", ["good", "bad"])
def test_nnictl_stops_the_manager_and_leaves_no_process(experiment, request):
    experiment = request.getfixturevalue(experiment)
    assert "Stop experiment success" in experiment.stopped
    assert experiment.left == []
    manifest = experiment.folder / "nni-experiments" / ".experiment"
    assert json.loads(manifest.read_text())[experiment.id]["status"] == "STOPPED"


@pytest.mark.slow
def test_trial_of_two_ranks_reports_once(tmp_path):
    experiment = run_experiment(
        tmp_path,
        f"--corpus {tmp_path / 'corpus'} --devices 2 --distributed ddp_find_unused_parameters_true",
        {
            "searchSpace": {"strategy": {"_type": "choice", "_value": ["magic_at"]}},
            "tuner": {"name": "GridSearch"},
        },
        n_trials=1,
    )
    [(trial_id, job)] = experiment.jobs.items()
    assert job.status == "SUCCEEDED"
    reports = [(metric.type, metric.sequence) for metric in experiment.metrics[trial_id]]
    assert reports == [("PERIODICAL", 0), ("PERIODICAL", 1), ("FINAL", 0)]
    assert experiment.left == []


def test_trials_with_mistakes_fail_and_report_nothing(bad):
    assert [job.status for job in bad.jobs.values()] == ["FAILED"] * 3
    assert bad.metrics == {}
    assert all(job.finalMetricData == [] for job in bad.jobs.values())


@pytest.mark.parametrize(
    "message",
    [
        r"error: strategy is 'no_such_strategy'; accepted are 'spos', 'magic_t', 'magic_a'",
        r"error: corpus_spec names '\S+/missing', which does not exist",
        r"error: k is 9; accepted are whole numbers from 1 to 8",
    ],
)
def test_mistake_gives_one_clear_line_in_a_trials_log(bad, message):
    logs = [log_of(job) for job in bad.jobs.values()]
    [named] = [log for log in logs if re.search(message, log)]
    assert len([line for line in named.splitlines() if " error: " in line]) == 1
    assert "Traceback" not in named
