"""A study of rank correlation that really trains, is stopped, and goes on."""

import multiprocessing
import time

import pytest
import torch
from studies import plan_of

from experiments import rank_trial
from experiments.rank_study import Study, claimed
from nni_magic.checkpoint import CHECKPOINT_KEY, read_checkpoint
from nni_magic.files import read_json

SMALL = {
    "children": {"n": 3, "steps": 2, "repeated": 1, "seeds": [0, 1]},
    "supernets": {
        "spos": {"strategy": "spos", "steps": 4, "seeds": [0]},
        "magic_at": {
            "strategy": "magic_at", "steps": 4, "seeds": [1],
            "options": {"align_every": 2, "warmup_epochs": 1}, "learning_rate": 1e-4,
        },
    },
}  # fmt: skip
FILES = {
    "children/000_seed0.json", "children/001_seed0.json", "children/002_seed0.json",
    "children/000_seed1.json", "supernets/spos_seed0.json", "supernets/magic_at_seed1.json",
}  # fmt: skip


def study_of(corpus, folder, **changes):
    folder.mkdir(exist_ok=True)
    plan = plan_of(folder, corpus, **{**SMALL, **changes})
    return Study(plan, folder / "runs", corpus / "cache")


def results(study):
    found = {}
    for path in sorted(study.output.rglob("*.json")):
        record = read_json(path)
        record.pop("cpu_seconds")
        found[str(path.relative_to(study.output))] = record
    return found


@pytest.fixture(scope="module")
def finished(corpus, tmp_path_factory):
    study = study_of(corpus, tmp_path_factory.mktemp("finished"))
    study.work()
    return study


def test_everything_of_the_plan_is_there(finished):
    assert results(finished).keys() == FILES
    assert list(finished.missing()) == []
    assert not list(finished.output.rglob("*.lock"))
    for name, record in results(finished).items():
        if name.startswith("supernets"):
            assert len(record["scores"]) == 3
            checkpoint = read_checkpoint((finished.output / name).with_suffix(".ckpt"))
            assert checkpoint[CHECKPOINT_KEY]["child"] == record["last_child"]
            assert checkpoint["global_step"] == 4


def test_study_that_was_stopped_ends_the_same(finished, corpus, tmp_path, monkeypatch):
    study = study_of(corpus, tmp_path / "stopped")
    train_supernet = study.train_supernet

    def stopped(name, seed):
        raise KeyboardInterrupt

    monkeypatch.setattr(study, "train_supernet", stopped)
    with pytest.raises(KeyboardInterrupt):
        study.work()
    assert len(results(study)) == 4
    monkeypatch.setattr(study, "train_child", stopped)  # children are not trained again
    monkeypatch.setattr(study, "train_supernet", train_supernet)
    study.work()
    assert results(study) == results(finished)


def test_repeated_training_is_of_the_same_child_and_another_start(finished):
    first, second = (results(finished)[f"children/000_seed{seed}.json"] for seed in (0, 1))
    assert first["sample"] == second["sample"]
    assert first["params"] == second["params"]
    assert first["val_loss"] != second["val_loss"]


def test_ground_truth_and_scores_share_no_text(finished, monkeypatch):
    data = finished.domain.data
    validation = data.validation
    rows = []

    class Watched(torch.utils.data.Dataset):
        def __len__(self):
            return len(validation)

        def __getitem__(self, index):
            rows.append(index)
            return validation[index]

    monkeypatch.setitem(
        finished.domain.__dict__, "data", type(data)(**{**vars(data), "validation": Watched()})
    )
    checkpoint = finished.supernet_file("spos", 0).with_suffix(".ckpt")
    finished.score(checkpoint, finished.children[:1])
    scored = set(rows)
    rows.clear()
    finished.train_child(0, 0)
    assert scored == set(range(64))
    assert set(rows) == set(range(64, len(validation)))


def test_images_are_scored_with_and_without_calibration(tmp_path):
    plan = plan_of(
        tmp_path, domain="proxyless", space={"candidates": ["mb3_3x3", "zero"]},
        options={"dataset": "digits", "held_out": 0.1}, **SMALL,
    )  # fmt: skip
    study = Study(plan, tmp_path / "runs", tmp_path / "cache")
    study.work()
    assert results(study).keys() == FILES
    found = results(study)["supernets/spos_seed0.json"]
    assert len(found["scores"]) == len(found["uncalibrated"]) == 3
    assert found["scores"] != found["uncalibrated"]
    assert 0 <= results(study)["children/000_seed0.json"]["val_accuracy"] <= 1


def hold(path, held):
    with claimed(path) as mine:
        held.value = mine
        time.sleep(60)


def test_claim_is_of_one_process_and_ends_with_it(tmp_path):
    context = multiprocessing.get_context("fork")
    held = context.Value("i", -1)
    other = context.Process(target=hold, args=(tmp_path / "a.json", held))
    other.start()
    while held.value < 0:
        time.sleep(0.01)
    assert held.value == 1
    with claimed(tmp_path / "a.json") as mine, claimed(tmp_path / "b.json") as free:
        assert not mine
        assert free
    other.kill()
    other.join()
    with claimed(tmp_path / "a.json") as mine:
        assert mine


class Line:
    """What a trial says to the manager."""

    def __init__(self, **parameters):
        self.parameters = parameters
        self.intermediate, self.final = [], None

    def report_intermediate(self, default, **others):
        self.intermediate.append(default)

    def report_final(self, default, **others):
        self.final = default


def test_trial_reports_tau_and_shares_the_ground_truth(finished, corpus, tmp_path):
    study = study_of(corpus, tmp_path / "trial")
    line = Line(supernets="spos")
    rank_trial.run(study, line)
    children = {name: r for name, r in results(study).items() if name.startswith("children")}
    assert children == {n: r for n, r in results(finished).items() if n in children}
    assert len(children) == 3
    assert (
        results(study)["supernets/spos_seed0.json"]
        == (
            results(finished)["supernets/spos_seed0.json"]  # to report changes nothing
        )
    )
    assert len(line.intermediate) == 2
    assert -1 <= line.final <= 1


def test_trial_of_unknown_supernets_raises(finished):
    with pytest.raises(ValueError, match="supernets is 'darts'; accepted are magic_at, spos"):
        rank_trial.run(finished, Line(supernets="darts"))
