"""``nni-magic glue``: from a corpus to a table, what is refused at the start, and kills."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import hugging
import pytest
import teachers
import torch
from transformers import pipeline

from nni_magic.programs.main import main
from nni_magic.programs.paper_scores import PAPER

ROOT = Path(__file__).parents[2]
SMALL = (
    "--strategy spos --epochs 1 --epoch-steps 2 --batch-size 4 --search-children 4 --population 2 "
    "--validation-batches 1 --pretrain-steps 2 --fine-tune-epochs 1 --fine-tune-batch-size 4 "
    "--threads 1 --tasks MRPC"
)


@pytest.fixture
def words(corpus, tmp_path):
    """Command line of a short run into ``tmp_path / name``."""
    torch.set_num_threads(1)
    hugging.write_tasks(tmp_path / "data")

    def make(name="out", *more):
        where = ["--corpus", corpus, "--cache", corpus / "cache", "--data", tmp_path / "data",
                 "--output", tmp_path / name]  # fmt: skip
        return ["glue", *map(str, where), *SMALL.split(), *more]

    return make


def test_corpus_becomes_fine_tuned_models_and_a_table(words, trial, tmp_path, capsys, monkeypatch):
    more = ["--baselines", "--teacher", str(teachers.written(tmp_path / "teacher"))]
    main(words("out", *more))
    out = tmp_path / "out"
    text = (out / "table.md").read_text()
    assert capsys.readouterr().out.endswith(text)
    [header, *rows] = csv.reader((out / "table.csv").open())
    costs = ["parameters", "inherited loss", "perplexity"]
    assert header == ["child", *costs, "MRPC", "mean", "seeds"]
    assert [row[0] for row in rows] == ["found", "distilled", "bert", "random", *PAPER]
    found, distilled, bert, random = (int(row[1]) for row in rows[:4])
    assert found == distilled
    assert 0.95 * bert <= min(found, random) <= max(found, random) <= bert
    assert rows[0][3] != rows[1][3]
    assert rows[-1][4:] == ["90.9", "90.9", ""]
    # The paper's metric, accuracy, and not its mean with F1.
    [result] = (out / "fine_tuned/found/MRPC").glob("*/result.json")
    measured = json.loads(result.read_text())["metrics"]["dev"]
    assert float(rows[0][4]) == pytest.approx(100 * measured["accuracy"])
    [record] = (out / "children/found").glob("*/child.json")
    assert json.loads(record.read_text())["provenance"]["settings"]["tasks"] == ["MRPC"]
    [model] = (out / "fine_tuned/random/MRPC").glob("*/model")
    assert pipeline("text-classification", model=str(model))("one")[0]["score"] > 0
    # What is there is not trained again.
    monkeypatch.setattr("nni_magic.tasks.language.hugging_face.train", None)
    main(words("out", *more))
    assert (out / "table.md").read_text() == text


@pytest.mark.parametrize(("more", "message"), [
    (["--tasks", "CoLA"], "CoLA is '.*CoLA', without train.tsv; accepted are folders in GLUE's"),
    (["--tasks", "RTF"], "glue task is 'RTF'; accepted are 'CoLA', 'SST-2'"),
    (["--tasks", "RTE", "RTE"], "tasks is .*; accepted are one or more, none twice"),
    (["--corpus", "nowhere"], "corpus_spec names 'nowhere', which does not exist"),
    (["--strategy", "darts"], "strategy is 'darts', which finds one child by itself; accepted"),
    (["--devices", "2"], "devices is 2; accepted are 'auto', 1"),
    (["--epoch-steps", "9999"], "epoch_steps is 9999, but the training data have"),
    (["--params", "9"], "params is 9; accepted are None"),
    (["--teacher", "nowhere"], "teacher is 'nowhere', without config.json; accepted are folders"),
    (["--fine-tune-epochs", "0"], "fine_tune_epochs is 0; accepted are"),
    (["--pretrain-learning-rate", "0"], "pretrain_learning_rate is 0.0; accepted are"),
])  # fmt: skip
def test_mistake_is_told_before_anything_is_trained(more, message, words, trial, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main([*words(), *more])
    [line] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("error")]
    assert re.search(message, line)
    assert not (tmp_path / "out/search/supernet.ckpt").exists()


def test_label_that_is_none_is_told_before_anything_is_trained(words, trial, tmp_path, capsys):
    given = words()
    with open(tmp_path / "data/MRPC/dev.tsv", "a") as file:
        file.write("yes\t1\t2\tone\ttwo\n")
    with pytest.raises(SystemExit):
        main(given)
    assert "dev.tsv:6: label is 'yes'; accepted are '0', '1'" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


STAGES = (
    "search/supernet.ckpt", "search/search.json", "pretrained/found/checkpoint-*/complete.json",
    "fine_tuned/found/RTE/*/checkpoint-*/complete.json",
    "pretrained/random/checkpoint-*/complete.json",
    "fine_tuned/random/MRPC/*/checkpoint-*/complete.json",
)  # fmt: skip
"""What appears in the middle of a stage."""


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_run_killed_in_every_stage_ends_with_the_table_of_an_undisturbed_one(words, tmp_path):
    longer = ["--baselines", "--tasks", "RTE", "MRPC", "--epochs", "3", "--search-children", "8",
              "--pretrain-steps", "12",
              "--pretrain-save-every", "2", "--fine-tune-epochs", "6"]  # fmt: skip

    def start(name):
        command = [sys.executable, "-m", "nni_magic.programs", *words(name, *longer)]
        return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL)  # fmt: skip

    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert start("whole").wait() == 0
    for stage in STAGES:
        run = start("killed")
        while not list(killed.glob(stage)):
            assert run.poll() is None
            time.sleep(0.005)
        os.kill(run.pid, signal.SIGKILL)
        assert run.wait() == -signal.SIGKILL
    assert not (killed / "table.md").exists()
    assert start("killed").wait() == 0
    for name in ("table.md", "table.csv"):
        assert (killed / name).read_text() == (whole / name).read_text()
