"""How long trainings take, in those of the baseline."""

import time

import pytest
import pytorch_lightning as pl
from studies import plan_of

from experiments.studies.ranking import times
from experiments.studies.ranking.times import Times, training_time
from experiments.studies.study import Study

SUPERNETS = {
    "spos": {"strategy": "spos", "steps": 8, "seeds": [1, 0]},
    "sandwich": {"strategy": "sandwich", "steps": 4, "seeds": [0]},
}


@pytest.fixture
def study(corpus, tmp_path):
    plan = plan_of(tmp_path, corpus, children={"n": 0, "steps": 4}, supernets=SUPERNETS)
    return Study(plan, tmp_path / "runs", corpus / "cache")


def test_time_is_that_of_the_training_to_the_baselines_before_and_after(study, monkeypatch):
    trained = []
    seconds = iter([(1.0, 2.0), (3.0, 30.0), (1.0, 4.0)])

    def taken(study, name, seed, epochs):
        trained.append((name, seed, epochs))
        found = pl.Callback()
        found.start, found.epochs = next(seconds)
        return found

    monkeypatch.setattr(times, "training_time", taken)
    measured = Times(study)
    measured.measure("sandwich", 0)
    n = 8 // study.plan.epoch_steps
    assert trained == [("spos", 0, 1), ("sandwich", 0, 4 // study.plan.epoch_steps), ("spos", 0, 1)]
    found = measured.read("sandwich", 0)
    assert found["cpu_seconds"] == 33
    assert found["baseline"] == ((1 + n * 2) + (1 + n * 4)) / 2
    assert found["ratio"] == 33 / found["baseline"]


def test_every_method_is_measured_with_its_first_seed_though_nothing_is_trained(study):
    measured = Times(study)
    measured.work()
    assert not list(measured.missing())
    found = measured.found()
    assert {name: list(seeds) for name, seeds in found.items()} == {"spos": [1], "sandwich": [0]}
    assert all(one["ratio"] > 0 for by_seed in found.values() for one in by_seed.values())
    assert not (study.output / "supernets").exists()


def test_start_and_epochs_are_parts_of_all_that_is_taken(study):
    began = time.process_time()
    taken = training_time(study, "spos", 0, 2)
    whole = time.process_time() - began
    assert 0 < taken.start < whole and 0 < taken.epochs < whole
    assert taken.start + taken.epochs <= whole


def test_without_the_baseline_nothing_is_measured(corpus, tmp_path):
    plan = plan_of(tmp_path, corpus, supernets={"sandwich": SUPERNETS["sandwich"]})
    assert list(Times(Study(plan, tmp_path / "runs", corpus / "cache")).missing()) == []
