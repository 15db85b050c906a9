"""Trainings of the study on GLUE: a cut of the data, and records of what is done."""

import json
import os
from pathlib import Path

import pytest

from experiments.studies.glue import trainings
from experiments.studies.glue.__main__ import TASKS
from experiments.studies.glue.trainings import (
    KINDS,
    cut_data,
    gather,
    read_records,
    study_settings,
    train_missing,
)
from nni_magic.support.files import write_json


def write_run(work, kind="found", task="RTE", seed=0, score=0.5, corpus="text", train="rows"):
    """Write what ``nni-magic glue`` leaves of one fine-tuned model."""
    folder = work / f"seed{seed}"
    write_json(folder / f"children/{kind}/1_ab/child.json",
               {"params": 9, "score": 4.5, "sample": {"layer_1": "ffn"}})  # fmt: skip
    write_json(folder / f"pretrained/{kind}/results.json", {"perplexity": 20.0})
    result = {"dataset": task, "learning_rate": 1e-3, "batch_size": 8, "seed": seed,
              "score": score, "metrics": {"dev": {"accuracy": score, "f1": 0.9}}}  # fmt: skip
    write_json(folder / f"fine_tuned/{kind}/{task}/one/result.json", result)
    write_json(folder / f"pretrained/{kind}/made_with.json", {"made_with": {"corpus": corpus}})
    digests = {"train": f"{train} of {task}", "dev": "some", "model": f"{kind} {seed}"}
    write_json(folder / f"fine_tuned/{kind}/{task}/one/made_with.json",
               {"made_with": {"digests": digests}})  # fmt: skip


def test_cut_keeps_headers_and_all_of_dev_and_draws_the_same_rows(tmp_path):
    for name, header in (("RTE", "index\tsentence1\n"), ("CoLA", "")):
        (tmp_path / "all" / name).mkdir(parents=True)
        for part in ("train", "dev"):
            text = header + "".join(f"row {n}\n" for n in range(20))
            (tmp_path / f"all/{name}/{part}.tsv").write_text(text)
    for folder in ("one", "two"):
        cut_data(tmp_path / "all", tmp_path / folder, ["RTE", "CoLA"], rows=5)
    first, *rows = (tmp_path / "one/RTE/train.tsv").read_text().splitlines()
    assert first == "index\tsentence1"
    assert len(set(rows)) == 5
    assert len((tmp_path / "one/CoLA/train.tsv").read_text().splitlines()) == 5
    assert len((tmp_path / "one/RTE/dev.tsv").read_text().splitlines()) == 21
    for path in (tmp_path / "one").rglob("*.tsv"):
        copy = tmp_path / "two" / path.relative_to(tmp_path / "one")
        assert path.read_text() == copy.read_text()


def test_rows_stay_apart_where_the_last_has_no_end_of_line(tmp_path):
    (tmp_path / "all/RTE").mkdir(parents=True)
    rows = [f"row {n}" for n in range(9)]
    (tmp_path / "all/RTE/train.tsv").write_text("\n".join(["index", *rows]))
    (tmp_path / "all/RTE/dev.tsv").write_text("index\n")
    cut_data(tmp_path / "all", tmp_path / "cut", ["RTE"], rows=9)
    header, *cut = (tmp_path / "cut/RTE/train.tsv").read_text().splitlines()
    assert header == "index" and sorted(cut) == rows != cut


def test_cut_that_is_killed_leaves_no_half_of_a_file(tmp_path, monkeypatch):
    class Killed(Exception):
        pass

    def half(*_):
        raise Killed

    for part in ("train", "dev"):
        (tmp_path / "all/RTE").mkdir(parents=True, exist_ok=True)
        (tmp_path / f"all/RTE/{part}.tsv").write_text("index\n" + "row\n" * 9)
    monkeypatch.setattr(os, "replace", half)  # all is written, and not moved to its place
    with pytest.raises(Killed):
        cut_data(tmp_path / "all", tmp_path / "cut", ["RTE"], rows=5)
    monkeypatch.undo()
    assert not (tmp_path / "cut/RTE/train.tsv").exists()
    cut_data(tmp_path / "all", tmp_path / "cut", ["RTE"], rows=5)
    assert len((tmp_path / "cut/RTE/train.tsv").read_text().splitlines()) == 6


def test_records_have_the_papers_metric_and_stay_when_the_training_is_gone(tmp_path):
    write_run(tmp_path / "work", task="MRPC", score=0.25)
    write_run(tmp_path / "work", kind="random", task="CoLA")
    gather(tmp_path / "work", ["MRPC", "RTE"], 0, tmp_path / "records")
    [record] = read_records(tmp_path / "records", ["MRPC", "CoLA"], [0, 1])
    assert (record["kind"], record["task"], record["seed"]) == ("found", "MRPC", 0)
    assert (record["score"], record["params"], record["perplexity"]) == (0.25, 9, 20.0)
    write_run(tmp_path / "work", task="MRPC", score=0.75)
    gather(tmp_path / "work", ["MRPC"], 0, tmp_path / "records")
    assert read_records(tmp_path / "records", ["MRPC"], [0]) == [record]


def test_only_missing_seeds_are_trained(tmp_path, monkeypatch):
    made = []
    def make(settings):
        made.append(settings.bert.seed)
        for kind in ("found", "bert", "random"):
            write_run(tmp_path / "work", kind, seed=settings.bert.seed)

    monkeypatch.setattr(trainings, "make", make)
    for _ in range(2):
        train_missing(tmp_path / "work", tmp_path, tmp_path, ["RTE"], range(2), tmp_path / "r")
    assert made == [0, 1]
    assert len(read_records(tmp_path / "r", ["RTE"], range(2))) == 6


def test_seed_that_lacks_a_kind_is_trained_though_another_is_there(tmp_path, monkeypatch):
    work, made = tmp_path / "work", []
    for kind in ("found", "bert", "distilled"):  # as many as without a teacher
        write_run(work, kind)
    monkeypatch.setattr(trainings, "make", lambda settings: made.append(settings.bert.seed))
    train_missing(work, tmp_path, tmp_path, ["RTE"], [0], tmp_path / "records")
    assert made == [0]


def test_records_of_another_size_are_refused_before_a_training(tmp_path, monkeypatch):
    write_run(tmp_path / "work", seed=1)
    gather(tmp_path / "work", ["RTE"], 1, tmp_path / "records")
    monkeypatch.setattr(trainings, "make", None)
    steps = trainings.SIZE["pretrain_steps"]
    monkeypatch.setitem(trainings.SIZE, "pretrain_steps", 7)
    message = f"seed1.json' was made with .*: pretrain_steps is {steps} there, and 7 here"
    with pytest.raises(ValueError, match=message):
        train_missing(tmp_path / "work", tmp_path, tmp_path, ["RTE"], [0, 1], tmp_path / "records")


def test_seed_is_that_of_all_stages(tmp_path):
    settings = study_settings(tmp_path, tmp_path / "text", tmp_path / "data", ["RTE", "CoLA"], 3)
    assert settings.baselines
    assert (settings.bert.seed, settings.fine_tune_seeds) == (3, (3,))
    assert settings.tasks == ("RTE", "CoLA")
    assert settings.output == tmp_path / "seed3"
    assert settings.teaching.teacher is None
    taught = study_settings(tmp_path, tmp_path, tmp_path, ["RTE"], 3, tmp_path / "teacher")
    assert taught.teaching.teacher == tmp_path / "teacher"


def test_damaged_record_is_named(tmp_path):
    (tmp_path / "found_RTE_seed0.json").write_text(json.dumps({"kind": "found"}))
    with pytest.raises(ValueError, match=r"found_RTE_seed0.json' is damaged: it lacks 'task'"):
        read_records(tmp_path, ["RTE"], [0])


@pytest.mark.parametrize(("other", "message"), [
    ({"corpus": "verse"}, "corpus is 'verse' there, and 'text' here"),
    ({"train": "fewer"}, "RTE train is 'fewer of RTE' there, and 'rows of RTE' here"),
])  # fmt: skip
def test_records_on_other_data_are_refused(tmp_path, other, message):
    for seed, task in ((0, "RTE"), (0, "CoLA"), (1, "CoLA")):
        write_run(tmp_path / "work", task=task, seed=seed)
    write_run(tmp_path / "work", seed=1, **other)
    for seed in range(2):
        gather(tmp_path / "work", ["RTE", "CoLA"], seed, tmp_path / "records")
    assert len(read_records(tmp_path / "records", ["RTE", "CoLA"], [0])) == 2
    with pytest.raises(ValueError, match=f"_seed1.json' was made with other settings: {message}"):
        read_records(tmp_path / "records", ["RTE", "CoLA"], [0, 1])


def test_committed_records_are_of_one_size_and_on_the_same_data():
    folder = Path(trainings.__file__).parents[2] / "records" / "glue"
    records = read_records(folder, TASKS, range(3))
    assert len(records) == len(list(folder.iterdir())) == 3 * len(TASKS) * len(KINDS)
    for record in records:
        bert = next(other for other in records if other["kind"] == "bert")
        assert 0.95 <= record["params"] / bert["params"] <= 1
