"""The demo around ``nnictl``: what it starts, what it waits for, what it prints."""

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from nni.experiment.data import TrialJob

from nni_magic.programs import demo
from nni_magic.programs.settings import DemoSettings

ROOT = Path(__file__).parents[2]

RESULT = {
    "settings": {"strategy": "magic_at"},
    "random_children_loss": 4.5678,
    "random_children_loss_stdev": 0.1234,
    "best_child": {"digest": "6f97c767ce5c134b", "val_loss": 4.4321, "params": 1234567},
    "train_seconds": 61.6,
    "search_seconds": 9.2,
}


def job(folder, status, strategy="spos", number=0, loss=4.25):
    """A trial as the manager's REST interface describes it."""
    parameters = {"parameter_id": number, "parameter_source": "algorithm", "parameter_index": 0}
    final = {"timestamp": 0, "trialJobId": "x", "parameterId": str(number), "type": "FINAL",
             "sequence": 0, "data": json.dumps(json.dumps({"default": loss}))}  # fmt: skip
    return TrialJob(
        trialJobId=f"trial{number}",
        status=status,
        startTime=1_000_000 + number,
        endTime=1_012_000 + number,
        sequenceId=number,
        logPath=str(folder),
        hyperParameters=[json.dumps({**parameters, "parameters": {"strategy": strategy}})],
        finalMetricData=[final] if status == "SUCCEEDED" else [],
    )


@pytest.fixture
def folder(tmp_path):
    """Folder of a trial that ended well."""
    (tmp_path / "results.json").write_text(json.dumps(RESULT))
    return tmp_path


class FakeExperiment:
    """Gives one picture of the experiment after the other, the last one again and again."""

    def __init__(self, *pictures):
        self.pictures = list(pictures)
        self.asked = 0

    def get_status(self):
        self.asked += 1
        assert self.asked < 20, "waits for ever"
        return self.pictures[0][0]

    def list_trial_jobs(self):
        _, *jobs = self.pictures[0]
        del self.pictures[: len(self.pictures) > 1]
        return jobs


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    monkeypatch.setattr(demo.time, "sleep", lambda seconds: None)


def test_free_port_is_the_preferred_one_when_free():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert demo.free_port(port) == port


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_free_port_is_another_when_the_preferred_one_is_busy(address):
    with socket.socket() as busy:
        busy.bind((address, 0))
        busy.listen()
        port = demo.free_port(busy.getsockname()[1])
        assert port != busy.getsockname()[1]
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", port))


def test_follow_prints_every_start_and_end_once(folder, capsys):
    first, second = job(folder, "RUNNING", "spos", 0), job(folder, "RUNNING", "magic_at", 1)
    done = [job(folder, "SUCCEEDED", "spos", 0), job(folder, "FAILED", "magic_at", 1)]
    experiment = FakeExperiment(
        ("RUNNING",), ("RUNNING", first), ("RUNNING", first), ("RUNNING", second, done[0]),
        ("NO_MORE_TRIAL", done[0], second), ("DONE", *done),
    )  # fmt: skip
    assert demo.follow(experiment, 2) == done
    assert capsys.readouterr().out.splitlines() == [
        "trial 1/2  spos                   running",
        "trial 1/2  spos                   succeeded after 12 s, loss 4.250",
        "trial 2/2  magic_at               running",
        "trial 2/2  magic_at               failed",
    ]


@pytest.mark.parametrize("status", ["DONE", "STOPPED", "NO_MORE_TRIAL", "TUNER_NO_MORE_TRIAL"])
def test_follow_ends_when_the_tuner_gives_fewer_trials_than_allowed(status, folder):
    running, ended = job(folder, "RUNNING"), job(folder, "SUCCEEDED")
    experiment = FakeExperiment(("RUNNING", running), (status, running), (status, ended))
    assert demo.follow(experiment, 10) == [ended]


def test_follow_waits_for_a_trial_that_runs_after_the_last_was_given(folder):
    ended, running = job(folder, "SUCCEEDED"), job(folder, "RUNNING", number=1)
    last = job(folder, "SUCCEEDED", number=1)
    experiment = FakeExperiment(("NO_MORE_TRIAL", ended, running), ("DONE", ended, last))
    assert demo.follow(experiment, 2) == [ended, last]


def test_follow_stops_at_an_error_of_the_experiment(folder):
    with pytest.raises(RuntimeError, match="the experiment's status is ERROR; see nnictl log"):
        demo.follow(FakeExperiment(("ERROR", job(folder, "RUNNING"))), 2)


def test_report_of_success_shows_table_and_folders(folder, capsys):
    assert demo.report([job(folder, "SUCCEEDED")], folder / "root")
    out = capsys.readouterr().out
    assert "4.568 ± 0.123" in out
    assert f"Files: {folder / 'root'}" in out
    assert f"  {folder}\n" in out


def test_report_shows_the_error_of_a_failed_trial(folder, tmp_path, capsys):
    log = ["[..] INFO (nni/MainThread) begins", "[..] PRINT error: k is 99; accepted are 1 to 8"]
    (tmp_path / "trial.log").write_text("\n".join(log))
    good, bad = job(folder, "SUCCEEDED"), job(tmp_path, "FAILED", number=1)
    assert not demo.report([good, bad], folder)
    out = capsys.readouterr().out
    assert re.search(r"^trial1 failed: .*error: k is 99; accepted are 1 to 8$", out, re.MULTILINE)
    assert "begins" not in out
    assert "magic_at" in out  # the table of the other trial


@pytest.mark.parametrize("text", ["Traceback (most recent call last):", None])
def test_report_names_the_log_of_a_trial_that_gave_no_error_line(text, tmp_path, capsys):
    log = tmp_path / "trial.log"
    if text is not None:
        log.write_text(text)
    assert not demo.report([job(tmp_path, "USER_CANCELED")], tmp_path)
    assert f"trial0 user_canceled: {log}" in capsys.readouterr().out


@pytest.fixture
def environment(tmp_path, monkeypatch):
    """``nnictl`` on the path, and a home of its own for NNI's list of experiments."""
    monkeypatch.setenv("HOME", str(tmp_path))
    path = [str(Path(sys.executable).parent), os.environ["PATH"]]
    monkeypatch.setenv("PATH", os.pathsep.join(path))
    return tmp_path


def config(folder, **more):
    settings = {
        "experimentWorkingDirectory": str(folder / "runs"),
        "trialCodeDirectory": str(ROOT),
        "trialCommand": "python -c pass",
        "trialConcurrency": 1,
        "maxTrialNumber": 1,
        "searchSpace": {"strategy": {"_type": "choice", "_value": ["spos"]}},
        "tuner": {"name": "GridSearch"},
        "trainingService": {"platform": "local"},
        **more,
    }
    path = folder / "experiment.yml"
    path.write_text(yaml.safe_dump(settings))
    return path


def test_create_says_what_nnictl_refuses(environment):
    path = config(environment, trialConcurency=2)
    refusal = r"nnictl create .* failed:\n[\s\S]*does not have field\(s\) trialconcurency"
    with pytest.raises(RuntimeError, match=refusal):
        demo.create(path, demo.free_port(0))


def test_create_says_that_a_port_is_busy(environment):
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        with pytest.raises(RuntimeError, match=f"failed:\n[\\s\\S]*Port {port} is not idle"):
            demo.create(config(environment), port)


def test_missing_experiment_is_named():
    with pytest.raises(FileNotFoundError, match=r"experiment is 'nowhere.yml'; accepted is a YAML"):
        demo.run(DemoSettings(experiment=Path("nowhere.yml")))


WRONG = {
    "trialCommand: epochs is 0; accepted": ("nni-magic train bert --epochs 0", {}),
    "trialCommand: task is 'bart'; accepted": ("nni-magic train bart", {}),
    "trialCommand: program is 'trian'; accepted": ("nni-magic trian bert", {}),
    "searchSpace: strategy is 'sops'; accepted": (
        "nni-magic train bert", {"strategy": {"_type": "choice", "_value": ["spos", "sops"]}}
    ),
    "searchSpace: setting is 'kk'; accepted": (
        "nni-magic train bert --strategy spos", {"kk": {"_type": "choice", "_value": [1]}}
    ),
    "searchSpace: batch_size is 0; accepted": (
        "nni-magic fine-tune --model child --data glue/RTE",
        {"batch_size": {"_type": "choice", "_value": [16, 0]}},
    ),
}  # fmt: skip


@pytest.mark.parametrize("message", WRONG)
def test_wrong_settings_of_trials_are_refused_before_any_is_started(message, tmp_path, monkeypatch):
    command, space = WRONG[message]
    config = {"experimentWorkingDirectory": "runs", "maxTrialNumber": 4,
              "trialCommand": command, "searchSpace": space}  # fmt: skip
    (tmp_path / "wrong.yml").write_text(yaml.safe_dump(config))
    monkeypatch.setattr(demo, "create", lambda *args: pytest.fail("it was started"))
    with pytest.raises(ValueError, match=message):
        demo.run(DemoSettings(experiment=tmp_path / "wrong.yml"))


@pytest.mark.parametrize("path", sorted(ROOT.glob("nni_magic/programs/examples/*.yml")))
def test_settings_of_examples_are_accepted(path):
    demo.check_command(yaml.safe_load(path.read_text()))


def test_example_is_written_into_the_users_folder_once(tmp_path, monkeypatch):
    started = []

    def refuse(path, port):
        started.append(path)
        raise RuntimeError("enough")

    monkeypatch.setattr(demo, "create", refuse)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="enough"):
            demo.run(DemoSettings(folder=tmp_path, port=0))
        path = tmp_path / "bert_search.yml"
        path.write_text(path.read_text() + "# mine\n")
    assert started == [path, path]
    assert path.read_text().count("# mine") == 2


@pytest.mark.slow
def test_demo_runs_from_start_to_stop(environment):
    corpus = environment / "corpus"
    corpus.mkdir()
    for number in range(8):
        (corpus / f"{number}.txt").write_text(f"document {number} says some words again " * 60)
    command = (
        f"{sys.executable} -m nni_magic.programs train bert --corpus {corpus} "
        f"--cache {environment / 'cache'} --epochs 2 --epoch-steps 3 --batch-size 4 "
        "--warmup-steps 2 --search-children 4 --population 2 --validation-batches 1"
    )
    strategies = {"_type": "choice", "_value": ["magic_t", "none"]}
    path = config(
        environment, trialCommand=command, maxTrialNumber=5, searchSpace={"strategy": strategies}
    )
    done = subprocess.run(
        [sys.executable, "-m", "nni_magic.programs", "demo", "--experiment", str(path),
         "--port", "0"],
        cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=200,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout  # one of the two trials failed
    assert re.search(r"trial 1/5  magic_t +succeeded after \d+ s, loss", done.stdout)
    assert re.search(r"^\| magic_t  \|", done.stdout, re.MULTILINE)
    assert "error: strategy is 'none'" in done.stdout
    assert "Traceback" not in done.stdout
    listed = json.loads((environment / "nni-experiments" / ".experiment").read_text())
    assert [experiment["status"] for experiment in listed.values()] == ["STOPPED"]


def test_planned_are_the_trials_of_a_pipeline_without_retries_or_all_allowed():
    example = yaml.safe_load((ROOT / "experiments" / "bert_search.yml").read_text())
    assert demo.planned_trials(example) == 1 + 4 + 2 + 3
    example["tuner"]["classArgs"] = {"generations": 2, "children": 3}
    assert demo.planned_trials(example) == 1 + 2 * 3 + 1
    assert demo.planned_trials({"maxTrialNumber": 4, "tuner": {"name": "GridSearch"}}) == 4
