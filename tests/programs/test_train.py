"""The trial that compares strategies, on text and on images: its files, a real kill in mid-run."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import teachers
import torch
from counting import n_multiply_adds
from reading import domain_of, settings_of

from nni_magic.children.samples import digest
from nni_magic.programs import train
from nni_magic.programs.main import main
from nni_magic.search import ChildEvaluator
from nni_magic.support.locks import sole_writer
from nni_magic.tasks.registry import TASKS
from nni_magic.tasks.vision.sources import MemoryImages
from search_spaces import BertSpace

ROOT = Path(__file__).parents[2]
SMALL = (
    "--epochs 4 --epoch-steps 8 --batch-size 4 --warmup-steps 2 --dropout 0.1 --warmup-epochs 1 "
    "--anchor-interval 2 --search-children 6 --population 3 --validation-batches 1"
)
MOVING = {"settings", "train_seconds", "search_seconds"}  # of two runs with the same results


@pytest.fixture
def arguments(corpus, tmp_path):
    """Command line of a short run into ``tmp_path / name``."""

    def make(strategy, name="out", more=""):
        where = ["--corpus", corpus, "--cache", corpus / "cache", "--output", tmp_path / name]
        return [*map(str, where), "--strategy", strategy, *SMALL.split(), *more.split()]

    return make


@pytest.fixture
def finished(arguments, trial):
    """Command line of a run that is over."""
    words = arguments("spos")
    run(words, trial)
    return words


def run(words, trial):
    chosen = settings_of("train", "bert", words)
    return train.run(domain_of(chosen), chosen, trial)


def results_of(folder):
    return json.loads((folder / "results.json").read_text())


# Settings


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("--batch-size 4000", "batch_size is 4000; accepted are 1 to the number of training rows"),
        ("--k 9", "k is 9; accepted are whole numbers from 1 to 8"),
        (
            "--tokenizer nowhere.json",
            "tokenizer is 'nowhere.json'; accepted is a tokenizer.json file",
        ),
    ],
)
def test_number_out_of_range_is_named(more, message, arguments, trial):
    with pytest.raises(ValueError if "tokenizer" not in more else FileNotFoundError, match=message):
        run(arguments("magic_at", more=more), trial)


def test_strategy_must_be_given(trial):
    with pytest.raises(ValueError, match="strategy is None; accepted are 'spos', 'magic_t'"):
        train.run_trial(TASKS["bert"], settings_of("train", "bert", []))


# A run


def test_run_writes_what_it_found(arguments, trial, tmp_path):
    words = arguments("magic_at")
    results = run(words, trial)
    folder = tmp_path / "out"
    assert {path.name for path in folder.iterdir()} == {
        "best_child.json", "results.json", "metrics.csv", "search.json", "seconds.json",
        "supernet.ckpt",
    }  # fmt: skip
    assert results_of(folder) == results
    best = json.loads((folder / "best_child.json").read_text())
    assert results["best_child"] == best
    assert results["settings"]["strategy"] == "magic_at"
    assert results["settings"]["output"] == str(folder)
    assert (results["children"], results["random_children"], results["steps"]) == (6, 3, 32)

    vocab_size = json.loads(
        next(settings_of("train", "bert", words).task.cache.glob("tokenizer-*.json")).read_text()
    )
    space = BertSpace.preset("tiny", vocab_size=len(vocab_size["model"]["vocab"]))
    child = space.freeze(best["sample"])
    assert best["params"] == sum(p.numel() for p in child.parameters())
    assert best["digest"] == digest(best["sample"])
    assert best["val_loss"] <= results["random_children_loss"]

    with (folder / "metrics.csv").open() as file:
        curve = [row["val_loss"] for row in csv.DictReader(file) if row["val_loss"]]
    assert len(curve) == 4


def test_evolution_begins_with_the_same_children_for_every_strategy(arguments, trial, monkeypatch):
    first, score = {}, ChildEvaluator.__call__

    def recorded(self, samples):
        asked.append([digest(sample) for sample in samples])
        return score(self, samples)

    monkeypatch.setattr(ChildEvaluator, "__call__", recorded)
    for name in ("spos", "magic_t"):
        asked = []
        run(arguments(name, name, "--epochs 1 --epoch-steps 2"), trial)
        first[name] = asked[0]
    assert first["spos"] == first["magic_t"]
    assert len(set(first["spos"])) == 3


def test_shrinking_run_ends_with_one_child_and_its_history(arguments, trial, tmp_path):
    more = "--n-drop 6 --evaluations 20 --epochs 4 --search-children 3"
    results = run(arguments("magic_at", more=more), trial)
    with (tmp_path / "out" / "shrinking.csv").open() as file:
        rows = list(csv.DictReader(file))
    deleted = {(row["label"], row["candidate"]) for row in rows if row["deleted"] == "1"}
    assert len(deleted) == 24
    assert deleted.isdisjoint(results["best_child"]["sample"].items())
    assert results["children"] == 1
    assert (tmp_path / "out" / "shrinking.png").stat().st_size > 10_000


def test_distilled_supernet_is_searched_under_a_budget(arguments, trial, tmp_path):
    teacher = teachers.written(tmp_path / "teacher")
    words = arguments("spos", more=f"--teacher {teacher} --params 230000")
    best = run(words, trial)["best_child"]
    assert best["params"] <= 230_000
    given = results_of(tmp_path / "out")["settings"]
    assert (given["teacher"], given["params"]) == (str(teacher), 230_000)
    message = r"has the terms \['teacher_hidden_loss', .* in its loss, and this one \[\]; acc"
    with pytest.raises(ValueError, match=message):
        run(arguments("spos", more="--params 230000"), trial)
    other = teachers.written(tmp_path / "other", seed=1)
    with pytest.raises(ValueError, match="teacher is"):
        run(arguments("spos", more=f"--teacher {other} --params 230000"), trial)


@pytest.mark.slow
def test_shrinking_run_with_a_teacher_ends_with_one_child(arguments, trial, tmp_path):
    teacher = teachers.written(tmp_path / "teacher")
    more = f"--teacher {teacher} --n-drop 8 --evaluations 4"
    run(arguments("magic_at", more=more), trial)
    history = (tmp_path / "out/shrinking.csv").read_text().splitlines()
    assert len(history) > 8


def test_images_have_no_teacher(trial, tmp_path):
    words = f"--strategy spos --preset tiny --teacher {tmp_path} --output {tmp_path / 'out'}"
    chosen = settings_of("train", "proxyless", words)
    with pytest.raises(ValueError, match=f"teacher is '{tmp_path}'; accepted is none, as children"):
        train.run(domain_of(chosen), chosen, trial)


def test_mixtures_have_no_teacher(arguments, trial, tmp_path):
    teacher = teachers.written(tmp_path / "teacher")
    with pytest.raises(ValueError, match=r"terms is \['teacher_hidden_loss', 'teacher_relations_l"):
        run(arguments("darts", more=f"--teacher {teacher}"), trial)


def test_finished_run_started_again_finds_the_same(arguments, trial, tmp_path):
    words = arguments("magic_at")
    first = run(words, trial)
    curve = (tmp_path / "out" / "metrics.csv").read_text()
    second = run(words, trial)
    assert {k: v for k, v in first.items() if k not in MOVING} == {
        k: v for k, v in second.items() if k not in MOVING
    }
    assert (tmp_path / "out" / "metrics_1.csv").read_text() == curve


def test_diverged_training_is_said_and_nothing_is_written(arguments, trial, tmp_path):
    words = arguments("spos", more="--learning-rate 1e30")
    with pytest.raises(ValueError, match=r"optimizer step 2, in epoch 0, is not finite: predict"):
        run(words, trial)
    assert not (tmp_path / "out" / "results.json").exists()


def test_other_ranks_only_train(arguments, trial, tmp_path, monkeypatch):
    monkeypatch.setattr(trial, "is_first_rank", False)
    assert run(arguments("spos", more="--epochs 1"), trial) == {}
    assert not (tmp_path / "out" / "results.json").exists()


def test_mistake_on_the_command_line_gives_one_line_and_status_1(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["nni-magic", "train", "bert", "--epochs", "many"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert capsys.readouterr().out == "error: epochs is 'many'; accepted are whole numbers\n"


# A killed run


def start(words):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "nni_magic.programs", "train", "bert", *words],
        cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def kill_once_there_is(path, process):
    try:
        while not path.exists():
            assert process.poll() is None, process.stdout.read()
            time.sleep(0.005)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL


def test_run_killed_twice_and_started_again_ends_as_if_never_killed(arguments, trial, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    words = arguments("magic_at", "killed", "--search-children 60")
    kill_once_there_is(killed / "supernet.ckpt", start(words))
    assert not (killed / "results.json").exists()
    checkpoint = torch.load(killed / "supernet.ckpt", weights_only=True)
    assert 8 <= checkpoint["global_step"] < 32

    kill_once_there_is(killed / "search.json", start(words))
    assert not (killed / "results.json").exists()
    scored = json.loads((killed / "search.json").read_text())
    assert 1 <= scored["population"]["generation"] < 20

    again = start(words)
    output, _ = again.communicate(timeout=200)
    assert again.returncode == 0, output
    run(arguments("magic_at", "whole", "--search-children 60"), trial)
    searches = [json.loads((folder / "search.json").read_text()) for folder in (whole, killed)]
    assert searches[0]["population"] == searches[1]["population"]
    assert searches[1]["population"]["scored"][: len(scored["population"]["scored"])] == (
        scored["population"]["scored"]
    )

    one, other = results_of(whole), results_of(killed)
    assert one["random_children_loss"] == other["random_children_loss"]
    assert one["best_child"] == other["best_child"]
    assert {k: v for k, v in one.items() if k not in MOVING} == {
        k: v for k, v in other.items() if k not in MOVING
    }
    weights = [
        torch.load(folder / "supernet.ckpt", weights_only=True)["state_dict"]
        for folder in (whole, killed)
    ]
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())

    def last_rows(folder):
        with max(folder.glob("metrics*.csv")).open() as file:  # a later start renames it
            return [(row["step"], row["val_loss"]) for row in csv.DictReader(file)][-1:]

    assert last_rows(whole) == last_rows(killed)


class Stopped(BaseException):
    """As a kill, from outside."""


def test_generations_that_were_scored_are_not_scored_again(arguments, trial, tmp_path, monkeypatch):
    words = arguments("spos", more="--epochs 1 --search-children 12")
    scored, score = [], ChildEvaluator.__call__

    def stopping(self, samples):
        if len(scored) == 2:
            raise Stopped
        scored.append([digest(sample) for sample in samples])
        return score(self, samples)

    monkeypatch.setattr(ChildEvaluator, "__call__", stopping)
    with pytest.raises(Stopped):
        run(words, trial)
    before = json.loads((tmp_path / "out" / "seconds.json").read_text())["seconds"]
    assert set(before) == {"train", "search"}
    scored.insert(0, None)
    results = run(words, trial)
    assert len(scored) == 5
    assert len({name for part in scored[1:] for name in part}) == 12
    assert results["children"] == 12
    after = json.loads((tmp_path / "out" / "seconds.json").read_text())["seconds"]
    assert after["train"] == before["train"]
    assert after["search"] > before["search"]
    assert results["search_seconds"] == round(after["search"], 1)
    assert run(words, trial) == results
    with pytest.raises(ValueError, match=r"search_children is less than 12, though so many are sc"):
        run([*words, "--search-children", "6"], trial)


@pytest.mark.parametrize(("more", "message"), [
    ("--seed 7", r"supernet.ckpt' was made with other settings: seed is 0 there, and 7 here"),
    ("--learning-rate 0.01", r"learning_rate is 0.003 there, and 0.01 here"),
    ("--epochs 5", r"epochs is 4 there, and 5 here"),
])  # fmt: skip
def test_checkpoint_of_other_settings_is_not_continued(arguments, trial, more, message, finished):
    with pytest.raises(ValueError, match=message):
        run([*finished, *more.split()], trial)


def test_settings_of_the_search_may_change_when_a_run_is_started_again(trial, finished, tmp_path):
    before = results_of(tmp_path / "out")
    run([*finished, "--search-children", "8", "--threads", "1"], trial)
    after = results_of(tmp_path / "out")
    assert after["settings"]["search_children"] == 8
    assert after["random_children_loss"] == before["random_children_loss"]


# Images


IMAGES = (
    "--strategy spos --epochs 1 --epoch-steps 2 --batch-size 16 --warmup-steps 1 "
    "--search-children 4 --population 2 --validation-batches 1 --retrain-epochs 1"
)


def of_images(more):
    return settings_of("train", "proxyless", f"{IMAGES} {more}")


@pytest.mark.parametrize("budget", ["1M", "1k"])
def test_budget_outside_of_the_space_is_told_with_both_figures(budget, trial, tmp_path):
    chosen = of_images(f"--budget {budget} --output {tmp_path}")
    with pytest.raises(ValueError, match=r"budget.* smallest child has 94,688 .* largest 670,400"):
        train.run(domain_of(chosen), chosen, trial)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("--epoch-steps 99", r"epoch_steps is 99, but the training data have 80 steps of 16 rows"),
        ("--resolution 3", "resolution is 3; accepted are at least 4 pixels, by which the strides"),
    ],
)
def test_setting_that_does_not_fit_is_named(more, message, trial, tmp_path):
    chosen = of_images(f"{more} --output {tmp_path}")
    with pytest.raises(ValueError, match=message):
        train.run(domain_of(chosen), chosen, trial)


def test_run_tests_the_best_child_once(trial, tmp_path, monkeypatch):
    finals = []
    monkeypatch.setattr(trial, "report_final", lambda *a, **k: finals.append((a, k)))
    chosen = of_images(f"--channels-last --output {tmp_path}")
    domain = domain_of(chosen)
    read, real, source = [], MemoryImages.read, domain.data.test.source

    def watched(self, indices, transform):
        read.extend(indices.tolist() if self is source else [])
        return real(self, indices, transform)

    monkeypatch.setattr(MemoryImages, "read", watched)
    results = train.run(domain, chosen, trial)
    assert sorted(read) == list(range(360))
    assert json.loads((tmp_path / "results.json").read_text()) == results
    assert results["images"] == {"train": 1293, "validation": 144, "test": 360}
    best, tested = results["best_child"], results["retrained"]
    assert best["digest"] == digest(best["sample"])
    assert best["flops"] == n_multiply_adds(domain.make_space(), best["sample"])
    assert best["flops"] <= domain.filter["max"]
    assert 0 <= tested["accuracy"] <= 1
    assert finals == [
        ((tested["loss"],),
         {"accuracy": tested["accuracy"], "val_loss": best["val_loss"], "params": best["params"],
          "flops": best["flops"], "random_children_loss": results["random_children_loss"]}),
    ]  # fmt: skip
    checkpoint = tmp_path / "retrained" / f"{best['digest']}.ckpt"
    weights = torch.load(checkpoint, weights_only=True)["state_dict"]
    with torch.no_grad():
        child = domain.make_space().freeze(best["sample"]).eval()
        child.load_state_dict({k.removeprefix("_model."): v for k, v in weights.items()})
        images, labels = domain.data.test.__getitems__(range(360))
        hits = (child(images).argmax(1) == labels).float().mean().item()
    assert tested["accuracy"] == pytest.approx(hits)


def test_folder_that_another_run_writes_into_is_refused_at_the_start(corpus, trial, tmp_path):
    where = ["--corpus", corpus, "--cache", corpus / "cache", "--output", tmp_path]
    chosen = settings_of("train", "bert", [*map(str, where), "--strategy", "spos"])
    with (
        sole_writer(tmp_path, "output"),
        pytest.raises(ValueError, match=r"output is '\S+', into which another run writes now"),
    ):
        train.run(domain_of(chosen), chosen, trial)
    assert list(tmp_path.iterdir()) == []
