"""A supernet's tau as the metric of a trial: the program, and the experiment that starts it."""

import shlex
import sys
from pathlib import Path

import nni
import pytest
import yaml
from nni.experiment.config import ExperimentConfig
from nnictl import ENDED, NnictlExperiment, log_of
from studies import plan_of

from experiments.studies.claims import claimed
from experiments.studies.plan import Plan
from experiments.studies.ranking import trial as rank_trial
from experiments.studies.study import Study
from nni_magic.analysis.ranking import rank
from nni_magic.support.files import read_json

ROOT = Path(__file__).parents[4]
CHANGES = {
    "children": {"n": 3, "steps": 2},
    "supernets": {
        "spos": {"strategy": "spos", "steps": 4, "seeds": [0]},
        "magic_t": {"strategy": "magic_t", "steps": 4, "seeds": [3, 4]},
    },
}


class Line:
    """What a trial says to the manager."""

    def __init__(self, **parameters):
        self.parameters = parameters
        self.intermediate, self.final = [], None

    def report_intermediate(self, default, **others):
        self.intermediate.append(default)

    def report_final(self, default, **others):
        self.final = default


@pytest.fixture(scope="module")
def finished(corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    study = Study(plan_of(folder, corpus, **CHANGES), folder / "runs", corpus / "cache")
    study.work()
    return study


def results(study):
    found = {path.name: read_json(path) for path in study.output.rglob("*.json")}
    return {name: {**one, "cpu_seconds": 0} for name, one in found.items()}


def tau_of(study, file):
    truth = [study.read_child(child, 0)["val_loss"] for child in range(3)]
    return rank(truth, read_json(file)["scores"], top_k=()).kendall_tau


def test_trial_reports_tau_and_shares_the_ground_truth(finished, tmp_path):
    study = Study(finished.plan, tmp_path / "runs", finished.domain.settings.cache)
    line = Line(supernets="spos")
    rank_trial.run(study, line)
    assert len(results(study)) == 4
    # To report changes nothing.
    assert results(study).items() <= results(finished).items()
    assert len(line.intermediate) == 2
    assert line.final == tau_of(study, study.supernet_file("spos", 0))


def test_trial_of_unknown_supernets_raises(finished):
    with pytest.raises(ValueError, match="supernets is 'darts'; accepted are 'magic_t', 'spos'"):
        rank_trial.run(finished, Line(supernets="darts"))


def test_trial_with_a_child_of_another_plan_raises(finished, tmp_path):
    changed = {**CHANGES, "children": {"n": 3, "steps": 3}}
    [corpus] = finished.plan.options["corpus"]
    plan = plan_of(tmp_path, corpus, **changed)
    study = Study(plan, finished.output, finished.domain.settings.cache)
    with pytest.raises(ValueError, match=r"children.steps is 2 there, and 3 here"):
        rank_trial.run(study, Line(supernets="spos"))


def test_trial_beside_one_that_trains_the_children_raises(finished, tmp_path):
    study = Study(finished.plan, tmp_path / "runs", finished.domain.settings.cache)
    with (
        claimed(study.child_file(1, 0)),
        pytest.raises(ValueError, match="1 children are being trained by another trial; trialConc"),
    ):
        rank_trial.run(study, Line(supernets="spos"))
    rank_trial.run(study, line := Line(supernets="spos"))
    assert line.final is not None


def test_run_with_the_line_of_nni(finished, trial, monkeypatch):
    reports = []
    monkeypatch.setattr(trial._channel, "send_metric", lambda **report: reports.append(report))
    trial.parameters = {"supernets": "magic_t"}
    rank_trial.run(finished, trial)
    assert [report["type"] for report in reports] == ["PERIODICAL", "PERIODICAL", "FINAL"]
    assert [report["sequence"] for report in reports] == [0, 1, 0]
    final = reports[-1]["value"]
    assert final["default"] == tau_of(finished, finished.supernet_file("magic_t", 3))
    assert final["low"] <= final["default"] <= final["high"]


def test_program_reads_its_command_line(finished, trial, corpus, monkeypatch):
    runs = finished.output
    monkeypatch.setattr(sys, "argv", [
        "rank_trial", "--plan", str(runs.parent / "plan.yml"), "--runs", str(runs),
        "--cache", str(corpus / "cache"), "--threads", "1",
    ])  # fmt: skip
    monkeypatch.setattr(nni.trial, "_params", None)
    monkeypatch.setattr(rank_trial, "ManagedTrial", lambda: trial)
    trial.parameters = {"supernets": "magic_t"}
    finals = []
    monkeypatch.setattr(trial, "report_final", lambda tau, **others: finals.append(tau))
    rank_trial.main()
    assert finals == [tau_of(finished, finished.supernet_file("magic_t", 3))]


def test_mistake_ends_the_program_with_one_line(monkeypatch, trial, capsys, tmp_path):
    words = ["rank_trial", "--plan", str(tmp_path / "no.yml"), "--runs", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", words)
    monkeypatch.setattr(rank_trial, "ManagedTrial", lambda: trial)
    with pytest.raises(SystemExit) as ended:
        rank_trial.main()
    assert ended.value.code == 1
    accepted = f"error: plan is {words[2]!r}; accepted is a YAML file of settings\n"
    assert capsys.readouterr().out == accepted


def test_shipped_experiment_compares_the_supernets_of_its_plan():
    path = ROOT / "experiments" / "rank_correlation_demo.yml"
    ExperimentConfig.load(path).validate()
    config = yaml.safe_load(path.read_text())
    words = shlex.split(config["trialCommand"])
    assert words[:3] == ["python", "-m", "experiments.studies.ranking.trial"]
    settings = rank_trial.parse_args(words[3:])
    assert (path.parent / config["trialCodeDirectory"]).resolve() == ROOT
    chosen = config["searchSpace"]["supernets"]
    supernets = list(Plan.read(ROOT / settings.plan).supernets)
    assert chosen == {"_type": "choice", "_value": supernets}
    assert (config["maxTrialNumber"], config["trialConcurrency"]) == (len(supernets), 1)


@pytest.mark.slow
def test_taus_are_the_final_results_under_nnictl(tmp_path, corpus):
    children = {"n": 4, "steps": 2}
    supernets = {name: {"strategy": name, "steps": 4, "seeds": [0]} for name in ("spos", "magic_t")}
    study = Study(
        plan_of(tmp_path, corpus, children=children, supernets=supernets),
        tmp_path / "trained", corpus / "cache",
    )  # fmt: skip
    config = {
        "trialCodeDirectory": str(ROOT),
        "trialCommand": shlex.join([
            sys.executable, "-m", "experiments.studies.ranking.trial",
            "--plan", str(tmp_path / "plan.yml"),
            "--runs", str(study.output), "--cache", str(corpus / "cache"), "--threads", "1",
        ]),
        "trialConcurrency": 1,
        "maxTrialNumber": 2,
        "searchSpace": {"supernets": {"_type": "choice", "_value": ["spos", "magic_t"]}},
        "tuner": {"name": "GridSearch"},
    }  # fmt: skip
    with NnictlExperiment(tmp_path, config) as experiment:
        jobs = experiment.wait_for(lambda jobs: sum(job.status in ENDED for job in jobs) == 2)
    assert [job.status for job in jobs] == ["SUCCEEDED"] * 2, log_of(jobs[0])
    truth = [study.read_child(child, 0)["val_loss"] for child in range(4)]
    for job in jobs:
        name = job.hyperParameters[0].parameters["supernets"]
        scores = study.read_supernet(name, 0)["scores"]
        expected = rank(truth, scores, top_k=()).kendall_tau
        assert job.finalMetricData[0].data["default"] == pytest.approx(expected)
    assert experiment.left == []
