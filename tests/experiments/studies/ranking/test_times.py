"""How long trainings take, in those of the baseline."""

import time

import pytest
from studies import plan_of

from experiments.studies.ranking import times
from experiments.studies.ranking.times import Times, training_seconds
from experiments.studies.study import Study

SUPERNETS = {
    "spos": {"strategy": "spos", "steps": 8, "seeds": [1, 0]},
    "sandwich": {"strategy": "sandwich", "steps": 4, "seeds": [0]},
}


@pytest.fixture
def study(corpus, tmp_path):
    plan = plan_of(tmp_path, corpus, children={"n": 0, "steps": 4}, supernets=SUPERNETS)
    return Study(plan, tmp_path / "runs", corpus / "cache")


def test_time_is_that_of_the_training_to_the_baselines_behind_it(study, monkeypatch):
    trained = []
    seconds = iter([5.0, 33.0, 11.0])

    def taken(study, *what):
        trained.append(what)
        return next(seconds)

    monkeypatch.setattr(times, "training_seconds", taken)
    measured = Times(study)
    measured.measure("sandwich", 0)
    assert trained == [("spos", 0, 1), ("sandwich", 0), ("spos", 0)]
    assert measured.read("sandwich", 0)["ratio"] == 3
    assert measured.read("sandwich", 0)["cpu_seconds"] == 33


def test_every_method_is_measured_with_its_first_seed_though_nothing_is_trained(study):
    measured = Times(study)
    measured.work()
    assert not list(measured.missing())
    found = measured.found()
    assert {name: list(seeds) for name, seeds in found.items()} == {"spos": [1], "sandwich": [0]}
    assert all(one["ratio"] > 0 for by_seed in found.values() for one in by_seed.values())
    assert not (study.output / "supernets").exists()


@pytest.mark.parametrize("epochs", [None, 1])
def test_all_epochs_are_trained_or_so_many(study, epochs, monkeypatch):
    made, make = [], study.evaluator

    def evaluator(*what):
        made.append(make(*what))
        return made[-1]

    monkeypatch.setattr(study, "evaluator", evaluator)
    began = time.process_time()
    assert 0 < training_seconds(study, "spos", 0, epochs) <= time.process_time() - began
    [one] = made
    assert one.trainer.global_step == (8 if epochs is None else study.plan.epoch_steps)


def test_without_the_baseline_nothing_is_measured(corpus, tmp_path):
    plan = plan_of(tmp_path, corpus, supernets={"sandwich": SUPERNETS["sandwich"]})
    assert list(Times(Study(plan, tmp_path / "runs", corpus / "cache")).missing()) == []
