"""The pipeline's tuner, spoken to as NNI's manager does."""

import base64
import itertools
import json
import logging
import os
import pickle
import random
import subprocess
import sys
import textwrap
from collections import Counter

import nni
import pytest
import yaml
from nni.runtime import msg_dispatcher_base
from nni.runtime.tuner_command_channel import CommandType, TunerCommandChannel
from nni.tools.package_utils import create_customized_class_instance
from nnictl import NNICTL

from nni_magic.manager import tuner as tuner_module
from nni_magic.manager.stages import Task
from nni_magic.manager.tuner import MagicTuner

SUPERNET = {"stage": "supernet", "baselines": ["bert"]}
BERT = {"stage": "retrain", "baseline": "bert"}
ALL = {"generations": 2, "top_k": 2, "baselines": ["bert"]}


def generation(number, **more):
    return {"stage": "search", "generation": number, **more}


def rank(number, **more):
    return {"stage": "retrain", "rank": number, **more}


def again(parameters):
    return {**parameters, "attempt": 2}


def first_try(parameters):
    return {name: value for name, value in parameters.items() if name != "attempt"}


def names(steps):
    return sorted(str(Task.parse(work)) for work in itertools.chain(*steps))


STEPS = [[SUPERNET], [generation(1)], [generation(2)], [rank(1), rank(2), BERT]]


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    """Let NNI's base connect to nothing."""
    variables = msg_dispatcher_base.dispatcher_env_vars
    monkeypatch.setattr(
        msg_dispatcher_base,
        "dispatcher_env_vars",
        variables._replace(NNI_TUNER_COMMAND_CHANNEL="ws://_unittest_"),
    )


class Trial:
    """A trial as the manager keeps it, and what it does in truth."""

    def __init__(self, form):
        self.form = form
        self.work = nni.load(form)["parameters"]


class Manager:
    """Does to a tuner what ``nnimanager.js`` does: asks, runs, tells; stops and resumes."""

    def __init__(self, concurrency=1, **class_args):
        self.concurrency, self.class_args = concurrency, class_args
        self.started, self.results, self.running, self.errors = [], [], [], []
        self._start()

    def _start(self, resume=False):
        self.no_more = False
        self.tuner = MagicTuner(**self.class_args)
        self.tuner.send = self._receive
        self.tuner.handle_initialize({})
        if resume:
            self.tuner.handle_import_data(
                [{"parameter": "?", "value": nni.dump(result)} for result in self.results]
            )
            self.running = [Trial(trial.form) for trial in self.running]
            self.started += [trial.work for trial in self.running]
            self.tuner.handle_add_customized_trial([nni.load(trial.form) for trial in self.running])
        self.tuner.handle_request_trial_jobs(self.concurrency)

    def _receive(self, command, data):
        if command is CommandType.NewTrialJob:
            assert not self.no_more
            self.running.append(Trial(data))
            self.started.append(self.running[-1].work)
            assert len(self.running) <= self.concurrency
        elif command is CommandType.NoMoreTrialJobs:
            self.no_more = True
        elif command is CommandType.Error:
            self.errors.append(data)
        else:
            assert command is CommandType.Initialized

    def end(self, event="SUCCEEDED", number=0):
        trial = self.running.pop(number)
        if event == "SUCCEEDED":
            self.results.append({"default": 0.5, "task": str(Task.parse(trial.work))})
            result = {"type": "FINAL", "parameter_id": 0, "value": nni.dump(self.results[-1])}
            self.tuner.handle_report_metric_data(result)
        ended = {"trial_job_id": "x", "event": event, "hyper_params": trial.form}
        self.tuner.handle_trial_end(ended)
        self.tuner.handle_request_trial_jobs(1)

    def resume(self, lost=0):
        """Stop and resume; of the running trials NNI has lost some, not yet submitted."""
        del self.running[len(self.running) - lost :]
        self._start(resume=True)

    def run(self):
        while self.running:
            self.end()

    @property
    def parameters(self):
        return [trial.work for trial in self.running]

    @property
    def done(self):
        return sorted(result["task"] for result in self.results)


def test_stages_follow_each_other():
    manager = Manager(**ALL)
    manager.run()
    assert manager.started == list(itertools.chain(*STEPS))
    assert manager.no_more


def test_step_waits_for_the_whole_step_before():
    manager = Manager(concurrency=2, **ALL)
    assert manager.parameters == [SUPERNET]
    manager.end()
    assert manager.parameters == [generation(1)]
    manager.end()
    manager.end()
    assert manager.parameters == [rank(1), rank(2)]
    manager.end(number=1)
    assert manager.parameters == [rank(1), BERT]
    assert not manager.no_more
    manager.run()
    assert manager.no_more


def test_every_child_can_have_a_trial():
    manager = Manager(concurrency=2, generations=2, children=3, top_k=0)
    manager.end()
    manager.end()
    manager.end()
    assert manager.parameters == [generation(1, child=3, children=3)]
    manager.run()
    children = [generation(g, child=c, children=3) for g in (1, 2) for c in (1, 2, 3)]
    assert manager.started == [{"stage": "supernet"}, *children]


def test_trials_have_distinct_ids():
    manager = Manager(concurrency=3, **ALL)
    ids = []
    while manager.running:
        ids.append(nni.load(manager.running[0].form)["parameter_id"])
        manager.end()
    assert ids == list(range(6))


@pytest.mark.parametrize("event", ["FAILED", "SYS_CANCELED", "USER_CANCELED", "EARLY_STOPPED"])
def test_failed_trial_is_tried_once_more(event, caplog):
    manager = Manager(**ALL)
    manager.end()
    manager.end(event)
    assert "search, generation 1 failed and is tried again" in caplog.text
    assert manager.parameters == [again(generation(1))]
    manager.end(event)
    assert "search, generation 1 failed 2 times; going on without it" in caplog.text
    assert manager.parameters == [generation(2)]
    manager.run()
    assert manager.started[-3:] == STEPS[-1]


def test_failed_retraining_leaves_the_others(caplog):
    manager = Manager(concurrency=3, **ALL)
    for _ in range(3):
        manager.end()
    manager.end("FAILED", number=1)
    manager.end()
    assert manager.parameters == [BERT]
    manager.end()
    assert manager.parameters == [again(rank(2))]
    assert not manager.no_more
    manager.end("FAILED")
    assert manager.no_more
    assert "retrain, rank 2 failed 2 times; going on without it" in caplog.text


def test_supernet_that_failed_twice_ends_the_experiment():
    manager = Manager(**ALL)
    manager.end("FAILED")
    manager.end("FAILED")
    [error] = manager.errors
    assert error.startswith("supernet failed 2 times, and nothing can follow")
    assert manager.started == [SUPERNET, again(SUPERNET)]
    assert manager.no_more


def test_resumed_experiment_tries_a_failed_supernet_anew():
    manager = Manager(**ALL)
    manager.end("FAILED")
    manager.end("FAILED")
    manager.resume()
    manager.run()
    assert manager.started == [SUPERNET, again(SUPERNET), *itertools.chain(*STEPS)]


@pytest.mark.parametrize("done", range(7))
@pytest.mark.parametrize("lost", [0, 1])
@pytest.mark.parametrize("concurrency", [1, 2, 3])
def test_resumed_experiment_does_what_is_missing(done, lost, concurrency):
    manager = Manager(concurrency, **ALL)
    for _ in range(done):
        manager.end()
    interrupted, before = manager.parameters, len(manager.started)
    manager.resume(lost=min(lost, len(interrupted)))
    assert sorted(map(str, manager.started[before:])) == sorted(map(str, interrupted))
    manager.run()
    assert manager.done == names(STEPS)
    assert manager.no_more


def test_failed_attempt_counts_also_after_a_resume():
    manager = Manager(**ALL)
    manager.end()
    manager.end("FAILED")
    manager.resume()
    assert manager.parameters == [again(generation(1))]
    manager.end("FAILED")
    assert manager.parameters == [generation(2)]


def test_resumed_trial_that_fails_is_tried_again():
    manager = Manager(**ALL)
    manager.end()
    manager.resume()
    manager.end("FAILED")
    assert manager.parameters == [again(generation(1))]


def test_generation_given_up_stays_so_when_the_next_was_reached():
    manager = Manager(**ALL)
    manager.end()
    manager.end("FAILED")
    manager.end("FAILED")
    manager.resume()
    assert manager.parameters == [generation(2)]


def test_retraining_given_up_is_tried_anew_after_a_resume():
    manager = Manager(**ALL)
    for _ in range(3):
        manager.end()
    manager.end("FAILED")
    manager.end("FAILED")
    manager.run()
    assert manager.no_more
    manager.resume()
    assert manager.parameters == [rank(1)]


@pytest.mark.parametrize("seed", range(40))
def test_pipeline_ends_whatever_happens(seed):
    """Failures and stops at random: no step starts early, nothing is done twice or left out."""
    rng = random.Random(seed)
    children = rng.choice([None, 3])
    numbers = [{"child": child, "children": 3} for child in (1, 2, 3)] if children else [{}]
    steps = [
        [SUPERNET],
        *([generation(g, **number) for number in numbers] for g in (1, 2, 3)),
        [rank(1), rank(2), BERT],
    ]
    manager = Manager(
        rng.randint(1, 4), generations=3, top_k=2, baselines=["bert"], children=children
    )
    failed = Counter()
    while manager.running:
        mix_up(manager.running, rng)
        present = [first_try(trial.work) for trial in manager.running]
        step = next(number for number, step in enumerate(steps) if present[0] in step)
        assert all(work in steps[step] for work in present)
        for work in itertools.chain(*steps[:step]):
            assert str(Task.parse(work)) in manager.done or failed[str(work)] >= 2
        number = rng.randrange(len(present))
        if rng.random() < 0.2:
            manager.resume(lost=rng.randint(0, len(present)))
        elif rng.random() < 0.2 and step > 0:
            failed[str(present[number])] += 1
            manager.end("FAILED", number)
        else:
            manager.end(number=number)
    assert manager.no_more
    for work in itertools.chain(*steps):
        assert str(Task.parse(work)) in manager.done or failed[str(work)] >= 2


def mix_up(trials, rng):
    """As NNI's manager does: trials that start together may get each other's parameters."""
    new = [trial for trial in trials if not hasattr(trial, "mixed")]
    works = [trial.work for trial in new]
    rng.shuffle(works)
    for trial, work in zip(new, works, strict=True):
        trial.work, trial.mixed = work, True


def test_failed_trial_is_told_from_others_that_started_with_it():
    manager = Manager(concurrency=3, **ALL)
    for _ in range(3):
        manager.end()
    first, second, third = manager.running
    first.work, second.work, third.work = second.work, third.work, first.work
    manager.end("FAILED")
    manager.end()
    manager.end()
    assert manager.parameters == [again(rank(2))]


def test_trials_added_by_hand_are_passed_over(caplog):
    manager = Manager(**ALL)
    by_hand = {"parameter_id": None, "parameters": SUPERNET, "parameter_source": "customized"}
    result = {"type": "FINAL", "parameter_id": None, "value": '{"task": "supernet"}'}
    manager.tuner.handle_report_metric_data(result)
    manager.tuner.handle_trial_end(
        {"trial_job_id": "x", "event": "FAILED", "hyper_params": nni.dump(by_hand)}
    )
    assert manager.started == [SUPERNET]
    foreign = [0.5, "no JSON", {"default": 0.5, "task": "search, generation 99"}]
    manager.tuner.handle_import_data([{"parameter": {}, "value": value} for value in foreign])
    assert "The result 0.5 of a trial is passed over: 'None' is no task of this" in caplog.text
    assert "The result no JSON of a trial is passed over" in caplog.text
    assert "passed over: 'search, generation 99' is no task of this experiment" in caplog.text
    manager.run()
    assert manager.started == list(itertools.chain(*STEPS))


def test_ends_of_trials_keep_their_order_among_commands():
    tuner = MagicTuner(generations=1)
    commands = [CommandType.TrialEnd, CommandType.RequestTrialJobs, CommandType.ReportMetricData]
    for command in commands:
        tuner.enqueue_command(command, json.dumps({"type": "PERIODICAL"}).encode().hex())
    queue = tuner.default_command_queue
    assert [queue.get_nowait()[0] for _ in commands] == commands


class Malicious:
    """Makes a folder when it is unpickled, as any code could run then."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)

    def report(self):
        """What a trial would write in place of its result."""
        return {"__nni_type__": "bytes:" + base64.b64encode(pickle.dumps(self)).decode()}


def told(monkeypatch, *messages):
    """A tuner after it has run on messages as the manager sends them, and what it has sent."""
    received, sent = iter([*messages, (CommandType.Terminate, "")]), []
    monkeypatch.setattr(msg_dispatcher_base, "_worker_fast_exit_on_terminate", False)
    monkeypatch.setattr(TunerCommandChannel, "_receive", lambda self: next(received))
    monkeypatch.setattr(TunerCommandChannel, "_send", lambda self, *message: sent.append(message))
    monkeypatch.setattr(TunerCommandChannel, "disconnect", lambda self: None)
    tuner = MagicTuner(**ALL)
    tuner.run()
    assert tuner.worker_exceptions == []
    return tuner, sent


def result(value):
    return CommandType.ReportMetricData, json.dumps(
        {"type": "FINAL", "parameter_id": 0, "value": value}
    )


def test_messages_of_the_manager_are_read(monkeypatch):
    trial = {"parameter_id": 0, "parameters": SUPERNET, "parameter_source": "algorithm"}
    ended = {"trial_job_id": "x", "event": "SUCCEEDED", "hyper_params": json.dumps(trial)}
    _, sent = told(
        monkeypatch,
        (CommandType.Initialize, "{}"),
        (CommandType.RequestTrialJobs, "1"),
        result(json.dumps({"default": 0.5, "task": "supernet", "note": "# // \"é\""})),
        (CommandType.TrialEnd, json.dumps(ended)),
        (CommandType.RequestTrialJobs, "1"),
    )
    assert sent[0] == (CommandType.Initialized, "")
    assert [json.loads(form)["parameters"] for _, form in sent[1:]] == [SUPERNET, generation(1)]


def test_what_a_trial_reports_runs_no_code(monkeypatch, tmp_path, caplog):
    attack = Malicious(tmp_path / "run")
    with pytest.raises(Exception):  # noqa: B017 - whatever NNI says of what it has unpickled
        nni.load(json.dumps(attack.report())).nothing  # noqa: B018
    assert attack.folder.exists()
    attack.folder.rmdir()
    told(
        monkeypatch,
        result(json.dumps({"default": 0.5, "task": attack.report()})),
        result(attack.report()),
        (CommandType.ReportMetricData, json.dumps(attack.report() | {"type": "PERIODICAL"})),
        (CommandType.TrialEnd, "no JSON"),
    )
    assert not attack.folder.exists()
    assert "A message of the manager is passed over: Expecting value" in caplog.text


def test_number_of_trials_is_logged(caplog):
    with caplog.at_level(logging.INFO, "nni_magic"):
        MagicTuner(generations=4, children=5, top_k=3, baselines=["bert"])
    assert f"The pipeline needs {1 + 4 * 5 + 3 + 1} trials if none fails" in caplog.text


@pytest.mark.parametrize(
    ("class_args", "error", "message"),
    [
        ({"generations": 0}, ValueError, "generations is 0; accepted are whole numbers of at lea"),
        ({"generations": 2.0}, ValueError, "generations is 2.0; accepted are whole numbers"),
        ({"generations": True}, ValueError, "generations is True; accepted are whole numbers"),
        ({"top_k": -1}, ValueError, "top_k is -1; accepted are whole numbers of at least 0"),
        ({"children": 0}, ValueError, "children is 0; accepted are whole numbers of at least 1"),
        ({"baselines": "bert"}, TypeError, "baselines is 'bert'; accepted are lists of names"),
        ({"baselines": [1]}, ValueError, "baselines holds 1; accepted are names of letters"),
        ({"baselines": ["../x"]}, ValueError, r"baselines holds '../x'; accepted are names"),
        ({"baselines": ["a", "a"]}, ValueError, r"\['a', 'a'\]; accepted are names that differ"),
        ({"optimize_mode": "min"}, ValueError, "optimize_mode is 'min'; accepted are 'maximize'"),
        ({"population": 5}, TypeError, "unexpected keyword argument 'population'"),
    ],
)
def test_wrong_class_args_are_refused_before_nni_is_connected(
    class_args, error, message, monkeypatch
):
    monkeypatch.setattr(msg_dispatcher_base, "TunerCommandChannel", None)
    with pytest.raises(error, match=message):
        MagicTuner(**{"generations": 2, **class_args})


def test_torch_is_not_imported():
    """NNI waits ten seconds for a tuner, in which torch may not be loaded."""
    code = "import sys, nni_magic.manager.tuner; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=True
    )
    assert done.stdout.split() == ["False"]


def test_nni_makes_the_tuner_from_an_experiments_configuration(tmp_path):
    tuner = create_customized_class_instance(
        {
            "className": "nni_magic.manager.tuner.MagicTuner",
            "codeDirectory": str(tmp_path),
            "classArgs": {"generations": 2},
        }
    )
    assert isinstance(tuner, MagicTuner)


def test_nnictl_registers_the_tuner(tmp_path):
    """With the file that the module's documentation shows."""
    shown = tuner_module.__doc__.split("is ::\n\n")[1].split("\n\n")[0]
    (tmp_path / "magic.yml").write_text(textwrap.dedent(shown))
    environment = {**os.environ, "HOME": str(tmp_path), "NNI_CONFIG_DIR": str(tmp_path / "nni")}
    registered = subprocess.run(
        [NNICTL, "algo", "register", "--meta", str(tmp_path / "magic.yml")],
        env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert "Magic registered sucessfully" in registered.stdout, registered.stderr
    known = yaml.safe_load((tmp_path / "nni" / "registered_algorithms.yml").read_text())
    [entry] = known["tuners"]
    assert entry["builtinName"] == "Magic"
    assert entry["className"] == "nni_magic.manager.tuner.MagicTuner"
