"""Training and scoring of the floor's supernets, on its quickest space."""

import dataclasses
import json
from pathlib import Path

import pytest

from experiments.studies.floor import spaces, trainings
from experiments.studies.floor.trainings import VARIANTS, Variant, read_scores, train_missing

RECORDS = Path(__file__).parents[4] / "experiments" / "records" / "floor"
SHORT = {"spos": VARIANTS["spos"], "magic_a": Variant("magic_a", {})}


@pytest.fixture
def plain_cnn_alone(monkeypatch):
    """The plain CNN, for two epochs of 30 batches."""
    small = spaces.SMALL_SPACES["plain_cnn"]

    def make_evaluator(seed):
        evaluator = small.make_evaluator(seed)
        evaluator.trainer.fit_loop.max_epochs = 2
        evaluator.trainer.limit_train_batches = 30
        return evaluator

    short = {"plain_cnn": dataclasses.replace(small, make_evaluator=make_evaluator)}
    monkeypatch.setattr(trainings, "SMALL_SPACES", short)


def test_every_missing_training_leaves_the_scores_of_the_same_children(tmp_path, plain_cnn_alone):
    train_missing(tmp_path, SHORT, range(1))
    spos, aligned = (
        json.loads((tmp_path / f"plain_cnn_{name}_seed0.json").read_text()) for name in SHORT
    )
    assert len(spos["scores"]) == len(aligned["scores"]) == 20
    assert all(0 <= score <= 1 for score in spos["scores"])
    assert (aligned["strategy"], aligned["metric"]) == ("magic_a", "val_acc")
    assert spos["scores"] != aligned["scores"]
    assert read_scores(tmp_path, "plain_cnn", "spos", range(2)) == {0: spos["scores"]}


def test_what_is_there_is_not_trained_again(tmp_path, plain_cnn_alone, monkeypatch):
    path = tmp_path / "plain_cnn_spos_seed0.json"
    path.write_text("{}")
    monkeypatch.setattr(trainings, "train", lambda *_: pytest.fail("trained again"))
    train_missing(tmp_path, {"spos": VARIANTS["spos"]}, range(1))
    assert path.read_text() == "{}"


def test_seeds_are_those_of_row_and_space(tmp_path, plain_cnn_alone, monkeypatch):
    monkeypatch.setattr(trainings, "train", lambda space, variant, seed: {"seed": seed})
    rows = {"spos": VARIANTS["spos"], "magic_a": Variant("magic_a", {}, seeds=3)}
    few = {
        name: dataclasses.replace(small, seeds=4) for name, small in trainings.SMALL_SPACES.items()
    }
    monkeypatch.setattr(trainings, "SMALL_SPACES", few)
    train_missing(tmp_path, rows, range(20))
    assert len(list(tmp_path.glob("plain_cnn_spos_seed*.json"))) == 4
    assert len(list(tmp_path.glob("plain_cnn_magic_a_seed*.json"))) == 3


@pytest.mark.parametrize("path", sorted(RECORDS.glob("*.json")), ids=lambda path: path.stem)
def test_committed_records_are_those_of_a_variant(path):
    record = json.loads(path.read_text())
    space, strategy, settings = (record[key] for key in ("space", "strategy", "settings"))
    name = path.stem.removeprefix(f"{space}_").removesuffix(f"_seed{record['seed']}")
    assert VARIANTS[name][:2] == (strategy, settings)
    assert len(record["scores"]) == trainings.N_CHILDREN


def test_record_without_scores_is_named(tmp_path):
    (tmp_path / "cells_spos_seed0.json").write_text('{"metric": "val_acc"}')
    with pytest.raises(ValueError, match=r"cells_spos_seed0.json' is damaged: it lacks 'scores"):
        read_scores(tmp_path, "cells", "spos", range(1))


def test_unknown_setting_of_a_variant_is_named(tmp_path):
    wrong = Variant("magic_a", {"alignment_error": "huber"})
    with pytest.raises(ValueError, match="alignment_error is 'huber'; accepted are 'cosine', 'ms"):
        train_missing(tmp_path, {"x": wrong}, range(1))
