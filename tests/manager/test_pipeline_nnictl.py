"""The pipeline's tuner under a real manager, with trials that train nothing."""

import json
import sys
import textwrap
from types import SimpleNamespace

import pytest
from nnictl import NnictlExperiment, log_of, wait_until_gone

# Does what the plan says for its 1st, 2nd ... start; after that it succeeds. A number is that of
# the starts to wait for.
PLANNED_TRIAL = """
    import json, time
    from pathlib import Path
    import nni
    from nni_magic.manager.stages import Task

    parameters = nni.get_next_parameter()
    task = str(Task.parse(parameters))
    with Path("journal.txt").open("a") as journal:
        journal.write(json.dumps(parameters) + "\\n")

    def starts():
        return [json.loads(line) for line in Path("journal.txt").read_text().splitlines()]

    start = [str(Task.parse(each)) for each in starts()].count(task)
    plan = json.loads(Path("plan.json").read_text()).get(task, [])
    act = plan[start - 1] if start <= len(plan) else "succeed"
    if act == "hang":
        time.sleep(600)
    if act == "fail":
        raise SystemExit("as planned")
    while isinstance(act, int) and len(starts()) < act:
        time.sleep(0.1)
    nni.report_final_result({"default": 0.5, "task": task})
"""

# Searches for the children with the smallest numbers, one in a trial.
SEARCHING_TRIAL = """
    from nni.mutable import Categorical, MutableDict
    from nni_magic.manager.pipeline import Pipeline
    from nni_magic.manager.trial import ManagedTrial
    from nni_magic.support.errors import one_clear_message
    from nni_magic.search import Population

    def population():
        labels = [f"block_{n}" for n in range(3)]
        space = MutableDict({label: Categorical([0, 1, 2], label=label) for label in labels})
        return Population(space, seed=0, size=2)

    with one_clear_message():
        Pipeline(ManagedTrial()).run(
            train_supernet=lambda: {"default": 9},
            population=population,
            score=lambda samples: [sum(sample.values()) for sample in samples],
            retrain=lambda child: {"default": sum(child.values()), "labels": len(child)},
        )
"""
ALONE = {"stage": "supernet"}
SUPERNET = {"stage": "supernet", "baselines": ["bert"]}
BERT = {"stage": "retrain", "baseline": "bert"}
GENERATION, RANK = {"stage": "search", "generation": 1}, {"stage": "retrain", "rank": 1}


def again(parameters):
    return {**parameters, "attempt": 2}


def experiment(folder, class_args, trial=PLANNED_TRIAL, concurrency=1, plan=None, **config):
    (folder / "plan.json").write_text(json.dumps(plan))
    (folder / "trial.py").write_text(textwrap.dedent(trial))
    tuner = {
        "className": "nni_magic.manager.tuner.MagicTuner",
        "codeDirectory": str(folder),
        "classArgs": class_args,
    }
    return NnictlExperiment(
        folder,
        {
            "trialCodeDirectory": str(folder),
            "trialCommand": f"{sys.executable} trial.py",
            "trialConcurrency": concurrency,
            "searchSpace": {},
            "tuner": tuner,
            **config,
        },
    )


def journal(folder):
    """Parameters that the trials were started with, in order."""
    file = folder / "journal.txt"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def shown(jobs):
    """Parameters that the web page shows."""
    return [job.hyperParameters[0].parameters for job in jobs]


def overlap(a, b):
    return a.startTime < b.endTime and b.startTime < a.endTime


@pytest.fixture(scope="module")
def resumed(tmp_path_factory):
    """A supernet that fails once; a stop in the search; two trainings at a time."""
    folder = tmp_path_factory.mktemp("resumed")
    plan = {
        "supernet": ["fail"], "search, generation 1": ["hang"],
        "retrain, rank 1": [6], "retrain, bert": [6],
    }  # fmt: skip
    class_args = {"generations": 1, "baselines": ["bert"]}
    statuses = []
    with experiment(folder, class_args, plan=plan, concurrency=2) as running:
        running.wait_for(lambda jobs: GENERATION in journal(folder))
        running.stop()
        running.resume()

        def finished(jobs):
            statuses.append(running.manager.get_status())
            return statuses[-1] != "RUNNING"

        running.wait_for(finished)
        jobs = running.wait_for_end()
        return SimpleNamespace(
            jobs=jobs, statuses=statuses, experiment=running, starts=journal(folder),
            log=running.log,
        )  # fmt: skip


def test_trials_run_in_the_order_of_the_pipeline(resumed):
    assert resumed.starts[:4] == [SUPERNET, again(SUPERNET), GENERATION, GENERATION]
    assert len(resumed.starts) == 6
    assert RANK in resumed.starts
    assert BERT in resumed.starts


def test_interrupted_trial_is_run_again_as_the_same_trial(resumed):
    assert shown(resumed.jobs)[:3] == [SUPERNET, again(SUPERNET), GENERATION]
    assert sorted(map(str, shown(resumed.jobs)[3:])) == sorted(map(str, [RANK, BERT]))
    statuses = [job.status for job in resumed.jobs]
    assert statuses == ["FAILED", "SUCCEEDED", "SUCCEEDED", "SUCCEEDED", "SUCCEEDED"]


def test_children_are_retrained_at_the_same_time_and_after_the_rest(resumed):
    *before, first, second = resumed.jobs
    assert overlap(first, second)
    assert not any(overlap(a, b) for a in before for b in (first, second))


def test_manager_shows_the_end_only_at_the_end(resumed):
    assert set(resumed.statuses[:-1]) == {"RUNNING"}
    assert resumed.statuses[-1] == "TUNER_NO_MORE_TRIAL"


def test_tuner_logs_what_was_tried_again(resumed):
    assert "supernet failed and is tried again" in resumed.log
    assert "ERROR" not in resumed.log


def test_no_process_is_left(resumed):
    assert resumed.experiment.left == []


@pytest.mark.slow
def test_supernet_that_fails_twice_ends_the_experiment_until_it_is_resumed(tmp_path):
    plan = {"supernet": ["fail", "fail"]}
    with experiment(tmp_path, {"generations": 1, "top_k": 0}, plan=plan) as running:
        running.wait_for(lambda jobs: running.manager.get_status() == "ERROR")
        assert "supernet failed 2 times, and nothing can follow" in running.log
        assert journal(tmp_path) == [ALONE, again(ALONE)]
        running.stop()
        running.resume()
        jobs = running.wait_for_end()
    assert [job.status for job in jobs].count("SUCCEEDED") == 2
    assert journal(tmp_path)[2:] == [ALONE, GENERATION]


@pytest.mark.slow
def test_resumed_trial_that_fails_is_tried_again_within_the_number_of_trials(tmp_path):
    plan = {"search, generation 1": ["hang", "fail"]}
    with experiment(
        tmp_path, {"generations": 1, "top_k": 0}, plan=plan, maxTrialNumber=3
    ) as running:
        running.wait_for(lambda jobs: GENERATION in journal(tmp_path))
        running.stop()
        running.resume()
        jobs = running.wait_for_end("DONE")
    assert sorted(job.status for job in jobs) == ["FAILED", "SUCCEEDED", "SUCCEEDED"]
    assert journal(tmp_path) == [ALONE, GENERATION, GENERATION, again(GENERATION)]


@pytest.mark.slow
def test_children_are_searched_one_in_a_trial_and_two_at_a_time(tmp_path):
    class_args = {"generations": 2, "children": 2, "top_k": 1}
    with experiment(tmp_path, class_args, SEARCHING_TRIAL, concurrency=2) as running:
        jobs = running.wait_for_end()
        exported = running.manager.export_data()
        folder = tmp_path / "runs" / running.id / "pipeline"
    assert [job.status for job in jobs] == ["SUCCEEDED"] * 6, [log_of(job) for job in jobs]
    scored = json.loads((folder / "search.json").read_text())["population"]["scored"]
    assert len(scored) == 4
    assert all(score == sum(sample.values()) for sample, score in scored)
    best = json.loads((folder / "rank_1.json").read_text())
    assert best["inherited_score"] == min(score for _, score in scored)
    assert best["report"] == {"default": best["inherited_score"], "labels": 3}
    results = {result.value["task"]: result.value["default"] for result in exported}
    assert len(results) == 6
    assert results["retrain, rank 1"] == best["inherited_score"]
    searched = [value for task, value in results.items() if task.startswith("search")]
    assert sorted(searched) == sorted(score for _, score in scored)


@pytest.mark.slow
def test_wrong_class_args_are_in_the_tuners_log(tmp_path):
    with experiment(tmp_path, {"generations": 0}) as running:
        running.wait_for(lambda jobs: running.manager.get_status() == "ERROR")
        assert "generations is 0; accepted are whole numbers of at least 1" in running.log


@pytest.mark.slow
def test_killed_manager_is_resumed(tmp_path):
    plan = {"search, generation 1": ["hang"]}
    with experiment(tmp_path, {"generations": 1, "top_k": 0}, plan=plan) as running:
        running.wait_for(lambda jobs: GENERATION in journal(tmp_path))
        for process in running.processes:
            process.kill()
        assert wait_until_gone(running.id) == []
        running.stop()
        running.resume()
        running.wait_for_end()
    assert journal(tmp_path) == [ALONE, GENERATION, GENERATION]
