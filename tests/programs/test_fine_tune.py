"""``nni-magic fine-tune``: tasks of GLUE, SQuAD, and what is refused at the start."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import hugging
import pytest
import teachers
import torch
from safetensors.torch import load_file
from transformers import pipeline

from nni_magic.programs import fine_tune as program
from nni_magic.programs.main import main
from nni_magic.programs.text_settings import FineTuneSettings
from nni_magic.tasks.language.glue import GLUE
from nni_magic.tasks.language.tokenization import train_tokenizer
from nni_magic.tasks.teaching import TaskTeacher

ROOT = Path(__file__).parents[2]
ENTAILED = "index\tsentence1\tsentence2\tlabel\n"
CONTEXT = "the dog sat on the mat and the cat ran"


def squad(n, version):
    def one(i):
        impossible = version == "2.0" and i % 2 == 0
        mat = {"text": "the mat", "answer_start": CONTEXT.index("the mat")}
        found = [] if impossible else [mat]
        asked = {"id": str(i), "question": "where?", "answers": found,
                 "is_impossible": impossible}  # fmt: skip
        return {"context": CONTEXT, "qas": [asked]}

    return json.dumps({"data": [{"paragraphs": [one(i) for i in range(n)]}]})


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """A model, and small data of every kind."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("given")
    hugging.written(folder / "model")
    for name in ("RTE", "MNLI", "STS-B", "SQuAD-1.1", "SQuAD-2.0"):
        (folder / name).mkdir()
    for part, n in (("train", 8), ("dev", 6)):
        rows = [f"{i}\tthe cat\t{'a dog' * (i % 2)}\t{'not_' * (i % 2)}entailment\n"
                for i in range(n)]  # fmt: skip
        (folder / f"RTE/{part}.tsv").write_text(ENTAILED + "".join(rows))
        rows = [f"the cat\ta dog{' ran' * (i % 3)}\t{i % 5}.0\n" for i in range(n)]
        text = "sentence1\tsentence2\tscore\n" + "".join(rows)
        (folder / f"STS-B/{part}.tsv").write_text(text)
        for name in ["train"] if part == "train" else ["dev_matched", "dev_mismatched"]:
            rows = [f"the cat\ta dog{' ran' * (i % 2)}\t{('entailment', 'neutral')[i % 2]}\n"
                    for i in range(n)]  # fmt: skip
            text = "sentence1\tsentence2\tgold_label\n" + "".join(rows)
            (folder / f"MNLI/{name}.tsv").write_text(text)
        for version in ("1.1", "2.0"):
            path = folder / f"SQuAD-{version}/{part}-v{version}.json"
            path.write_text(squad(n, version))
    return folder


def settings(given, output, **more):
    chosen = {"dataset": "RTE", "epochs": 1, "stride": 8, "batch_size": 4, **more}
    return FineTuneSettings(
        model=chosen.pop("model", given / "model"), data=chosen.pop("data", given),
        output=output, **chosen,
    )  # fmt: skip


def test_task_becomes_a_classifier_in_a_pipeline(given, tmp_path, trial, monkeypatch):
    reported = []
    def report(_, score):
        reported.append(score)

    monkeypatch.setattr(program.ManagedTrial, "report_final", report)
    main(["fine-tune", "--model", str(given / "model"), "--data", str(given), "--dataset", "RTE",
          "--output", str(tmp_path), "--epochs", "1", "--seed", "3"])  # fmt: skip
    folder = tmp_path / "RTE/lr2e-05_b16_s3"
    result = json.loads((folder / "result.json").read_text())
    assert reported == [result["score"]] == [result["metrics"]["dev"]["accuracy"]]
    [found] = pipeline("text-classification", model=str(folder / "model"))(["the cat"])
    assert found["label"] in {"entailment", "not_entailment"}
    assert '"dataset": "RTE"' in (folder / "model/README.md").read_text()


def test_task_is_learnt_from_a_teacher_too(given, tmp_path):
    names = {n: name for n, name in enumerate(GLUE["RTE"].labels)}
    classes = {"id2label": names, "label2id": {name: n for n, name in names.items()}}
    where = teachers.written(tmp_path / "teacher", "classifier", **classes)
    teaching = TaskTeacher(teacher=where, teacher_weight=2.0)
    program.fine_tune(settings(given, tmp_path / "alone"))
    program.fine_tune(settings(given, tmp_path / "taught", teaching=teaching))
    folder = "RTE/lr2e-05_b4_s0"
    made_with = json.loads((tmp_path / f"taught/{folder}/made_with.json").read_text())["made_with"]
    assert (made_with["teacher_weight"], len(made_with["teacher"])) == (2.0, 64)
    alone, taught = (
        load_file(tmp_path / f"{name}/{folder}/model/model.safetensors")
        for name in ("alone", "taught")
    )
    assert alone.keys() == taught.keys()
    assert any(not alone[name].equal(taught[name]) for name in alone)
    with pytest.raises(ValueError, match="made with other settings: teacher"):
        program.fine_tune(settings(given, tmp_path / "alone", teaching=teaching))


@pytest.mark.parametrize(
    ("dataset", "message"),
    [("SQuAD-1.1", "dataset, with a teacher, is 'SQuAD-1.1'; accepted are 'CoLA'"),
     ("RTE", "whose classes are .*'LABEL_1'.*; accepted for RTE are"),
     ("STS-B", "whose classes are .*'LABEL_1'.*; accepted for STS-B are")],
)  # fmt: skip
def test_teacher_that_does_not_fit_the_task_is_refused(dataset, message, given, tmp_path):
    where = teachers.written(tmp_path / "teacher", "classifier", num_labels=3)
    chosen = settings(given, tmp_path, dataset=dataset, teaching=TaskTeacher(teacher=where))
    with pytest.raises(ValueError, match=message):
        program.fine_tune(chosen)
    assert not list(tmp_path.glob("*/*/made_with.json"))  # a run with another may begin here


def test_finished_run_is_read_and_one_of_other_data_refused(given, tmp_path):
    shutil.copytree(given / "RTE", tmp_path / "data/RTE")
    chosen = settings(given, tmp_path / "out", data=tmp_path / "data")
    first = program.fine_tune(chosen)
    [checkpoint] = (tmp_path / "out").glob("RTE/*/checkpoint-*")
    shutil.rmtree(checkpoint)
    assert program.fine_tune(chosen) == first
    with open(tmp_path / "data/RTE/train.tsv", "a") as file:
        file.write("9\tone\tother\tentailment\n")
    with pytest.raises(ValueError, match=r"made with other settings: digests\.train is"):
        program.fine_tune(chosen)


def test_rated_texts_begin_with_the_classifier_of_mnli(given, tmp_path):
    mnli = program.fine_tune(settings(given, tmp_path, dataset="MNLI"))
    parts = mnli["metrics"]
    assert set(parts) == {"dev_matched", "dev_mismatched"}
    assert mnli["score"] == sum(part["accuracy"] for part in parts.values()) / 2
    [start] = (tmp_path / "MNLI").glob("*/model")
    rated = settings(given, tmp_path, dataset="STS-B", mnli=start)
    assert set(program.fine_tune(rated)["metrics"]["dev"]) == {"pearson", "spearman", "score"}
    with pytest.raises(ValueError, match=r"made with other settings: digests\.mnli is"):
        program.fine_tune(settings(given, tmp_path, dataset="STS-B"))


@pytest.mark.parametrize("version", [pytest.param("1.1", marks=pytest.mark.slow), "2.0"])
def test_questions_are_answered(version, given, tmp_path):
    result = program.fine_tune(settings(given, tmp_path, dataset=f"SQuAD-{version}"))
    assert ("null_threshold" in result) == (version == "2.0")
    assert 0 <= result["score"] <= 1
    [folder] = (tmp_path / f"SQuAD-{version}").iterdir()
    n_best = json.loads((folder / "n_best.json").read_text())
    answers = json.loads((folder / "predictions.json").read_text())
    assert n_best.keys() == answers.keys() == {str(n) for n in range(6)}
    assert all(answers[id] in {"", found[0][0]} for id, found in n_best.items())
    assert all(text in CONTEXT for found in n_best.values() for text, _ in found)


def rewritten(given, tmp_path, name, text):
    folder = tmp_path / name.split("/")[0]
    shutil.copytree(given / folder.name, folder)
    (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize(("more", "message"), [
    ({"dataset": "RTF"}, "dataset is 'RTF'; accepted are 'CoLA', .*'SQuAD-2.0'"),
    ({"dataset": "CoLA"}, "CoLA is '.*CoLA', without train.tsv; accepted are folders"),
    ({"dataset": "SQuAD-1.1", "stride": 40},
     "a model of 48 tokens: stride is 40; accepted are whole numbers from 1 to 32"),
    ({"learning_rate": 1e30}, "the loss on dev is nan: the training has diverged"),
])  # fmt: skip
def test_mistake_is_told(more, message, given, tmp_path):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        program.fine_tune(settings(given, tmp_path, **more))


def test_several_processes_are_refused(given, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="WORLD_SIZE is '2'; accepted is '1'"):
        program.fine_tune(settings(given, tmp_path))


def test_label_that_is_none_is_told_before_the_training(given, tmp_path):
    data = rewritten(given, tmp_path, "RTE/dev.tsv", ENTAILED + "1\tone\tother\tmaybe\n")
    with pytest.raises(ValueError, match=r"dev.tsv:2: label is 'maybe'; accepted are 'entail"):
        program.fine_tune(settings(given, tmp_path / "out", data=data))


def test_answer_outside_its_context_is_told_before_the_training(given, tmp_path):
    text = squad(2, "1.1").replace("the mat\"", "the rug\"")
    data = rewritten(given, tmp_path, "SQuAD-1.1/dev-v1.1.json", text)
    with pytest.raises(ValueError, match="answer 'the rug' is not at 15 of its context"):
        program.fine_tune(settings(given, tmp_path / "out", data=data, dataset="SQuAD-1.1"))


def test_checkpoint_of_another_tokenizer_is_told(given, tmp_path):
    other = shutil.copytree(given / "model", tmp_path / "other")
    texts = [f"cat {n} purrs" for n in range(300)] * 2
    size = hugging.tokenizer().get_vocab_size()
    train_tokenizer(texts, size).save(str(other / "tokenizer.json"))
    with pytest.raises(ValueError, match=r"mnli is '.*', which has another tokenizer; accepted"):
        program.fine_tune(settings(given, tmp_path / "out", dataset="STS-B", mnli=other))


def test_model_without_room_for_questions_is_told(tmp_path, given):
    short = hugging.written(tmp_path / "short", length=12)
    with pytest.raises(ValueError, match="model takes 12 tokens; accepted for SQuAD are those of"):
        program.fine_tune(settings(given, tmp_path / "o", model=short, dataset="SQuAD-1.1"))


@pytest.mark.slow
def test_killed_run_ends_as_an_undisturbed_one(given, tmp_path):
    def start(output):
        words = ["fine-tune", "--model", given / "model", "--data", given, "--dataset", "RTE",
                 "--output", output, "--epochs", 12, "--batch-size", 4]  # fmt: skip
        command = [sys.executable, "-m", "nni_magic.programs", *map(str, words)]
        return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL)  # fmt: skip

    assert start(tmp_path / "whole").wait() == 0
    run = start(tmp_path / "killed")
    while not list((tmp_path / "killed").glob("RTE/*/checkpoint-*/complete.json")):
        assert run.poll() is None
        time.sleep(0.01)
    os.kill(run.pid, signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL
    [folder] = (tmp_path / "killed/RTE").iterdir()
    assert not (folder / "result.json").exists()
    assert start(tmp_path / "killed").wait() == 0
    other = tmp_path / "whole/RTE" / folder.name
    one, two = (load_file(each / "model/model.safetensors") for each in (folder, other))
    assert all(one[name].equal(two[name]) for name in one)
    assert (folder / "result.json").read_text() == (other / "result.json").read_text()


@pytest.mark.slow
def test_found_child_is_exported_pretrained_and_fine_tuned(given, tmp_path, trial):
    child = hugging.exported(tmp_path / "children")
    (tmp_path / "text").mkdir()
    for number in range(8):
        (tmp_path / f"text/{number}.txt").write_text(f"cat {number} sat on the mat. " * 20)
    main(["export", "--child", str(child)])
    full, tuned = tmp_path / "full", tmp_path / "tuned"
    main(["pretrain", "--model", str(child / "hugging_face"), "--output", str(full), "--corpus",
          str(tmp_path / "text"), "--cache", str(tmp_path / "cache"), "--steps", "2",
          "--warmup-steps", "1"])  # fmt: skip
    main(["fine-tune", "--model", str(full / "model"), "--data", str(given), "--output", str(tuned),
          "--epochs", "1"])  # fmt: skip
    [model] = tuned.glob("RTE/*/model")
    assert pipeline("text-classification", model=str(model))("the cat")[0]["score"] > 0
