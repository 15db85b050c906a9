"""The program that searches a front, at its smallest."""

import csv
import json
import shutil

import pytest
from reading import domain_of, settings_of

from nni_magic.programs import train
from nni_magic.programs.main import main
from nni_magic.programs.pareto import known_scores, title
from nni_magic.search import ChildEvaluator
from nni_magic.tasks.language.bert import Bert
from nni_magic.tasks.vision.proxyless import Proxyless

PARETO = ("nni-magic", "pareto", "bert")


def trained(words, trial):
    chosen = settings_of("train", "bert", words)
    return train.run(domain_of(chosen), chosen, trial)


@pytest.fixture
def arguments(corpus, trial, tmp_path):
    where = ["--corpus", str(corpus), "--cache", str(corpus / "cache")]
    small = "--strategy spos --epochs 1 --epoch-steps 2 --batch-size 4 --warmup-steps 1"
    search = ["--search-children", "2", "--population", "2", "--validation-batches", "1"]
    trained([*where, *small.split(), *search, "--output", str(tmp_path)], trial)
    (tmp_path / "front").mkdir()
    files = ["--checkpoint", str(tmp_path / "supernet.ckpt"), "--output", str(tmp_path / "front")]
    return [
        *where,
        *files,
        *["--batch-size", "4", "--validation-batches", "1", "--population", "6"],
    ]


@pytest.mark.parametrize("cost", ["params", "flops"])
def test_front_is_written_and_a_second_start_continues(cost, arguments, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", [*PARETO, *arguments, "--cost", cost, "--generations", "3"])
    main()
    rows = list(csv.DictReader((tmp_path / "front" / "front.csv").open()))
    costs = [float(row[title(cost, Bert)]) for row in rows]
    losses = [float(row["score"]) for row in rows]
    assert costs == sorted(costs)
    assert losses == sorted(losses, reverse=True)
    assert (tmp_path / "front" / "front.png").stat().st_size > 10_000

    known = json.loads((tmp_path / "front" / "scored.json").read_text())
    assert len(known["known"]) == 18
    whole = (tmp_path / "front" / "front.csv").read_text()
    monkeypatch.setattr(ChildEvaluator, "__call__", None)  # nothing is left to score
    main()
    assert (tmp_path / "front" / "front.csv").read_text() == whole


@pytest.mark.parametrize(("more", "message"), [
    ("--cost flops", "scored.json' was made with other settings: cost is 'params' there, and"),
    ("--validation-batches 2", "validation_batches is 1 there, and 2 here"),
    ("--precision bf16-true", "precision is '32-true' there, and 'bf16-true' here"),
])  # fmt: skip
def test_children_scored_otherwise_are_not_taken(arguments, monkeypatch, capsys, more, message):
    monkeypatch.setattr("sys.argv", [*PARETO, *arguments, "--generations", "1"])
    main()
    monkeypatch.setattr("sys.argv", [*PARETO, *arguments, "--generations", "1", *more.split()])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert message in capsys.readouterr().out


def test_children_scored_on_other_text_are_not_taken(
    arguments, corpus, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("sys.argv", [*PARETO, *arguments, "--generations", "1"])
    main()
    other = shutil.copytree(corpus, tmp_path / "other")
    shutil.copy(corpus / "0.txt", other / "twice.txt")
    words = [str(other) if word == str(corpus) else word for word in arguments]
    monkeypatch.setattr("sys.argv", [*PARETO, *words, "--generations", "1"])
    with pytest.raises(SystemExit):
        main()
    assert "scored.json' was made with other settings: data.corpus is" in capsys.readouterr().out


def test_checkpoint_without_deleted_candidates_is_refused(
    arguments, trial, tmp_path, monkeypatch, capsys
):
    small = "--epochs 4 --epoch-steps 2 --batch-size 4 --warmup-steps 1 --validation-batches 1"
    shrinking = "--strategy spos --n-drop 6 --evaluations 20 --search-children 2 --population 2"
    shrunk = ["--output", str(tmp_path / "shrunk")]
    words = [*arguments[:4], *small.split(), *shrinking.split(), *shrunk]
    trained(words, trial)
    given = ["--checkpoint", str(tmp_path / "shrunk" / "supernet.ckpt")]
    monkeypatch.setattr("sys.argv", [*PARETO, *arguments, *given])
    with pytest.raises(SystemExit):
        main()
    assert "supernet.ckpt' lacks 24 of 32 candidates, which" in capsys.readouterr().out
    assert not (tmp_path / "front" / "scored.json").exists()


def test_costs_are_told_by_the_row_of_the_task():
    assert title("params", Bert) == "parameters (thousands)"
    assert title("flops", Bert) == "multiply-adds a sequence (millions)"
    assert title("flops", Proxyless) == "multiply-adds an image (millions)"


def test_missing_checkpoint_is_named(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["pareto", "bert", "--checkpoint", "nowhere.ckpt", "--output", str(tmp_path)])
    expected = "error: checkpoint is 'nowhere.ckpt', which is not a file; accepted is"
    assert expected in capsys.readouterr().out


@pytest.mark.parametrize(("record", "message"), [
    ({}, "lacks 'known'"),
    ({"known": [1]}, r"its 'known' is \[1\]; accepted are mappings"),
    ({"known": {"a": 1}}, "its 'known' has 1 for child 'a'; accepted are a score and a cost"),
    ({"known": {"a": [1, "x"]}}, r"its 'known' has \[1, 'x'\] for child 'a'"),
    ({"known": {"a": [1.0]}}, r"its 'known' has \[1.0\] for child 'a'"),
])  # fmt: skip
def test_record_without_scores_is_named(tmp_path, record, message):
    (path := tmp_path / "scored.json").write_text(json.dumps({"made_with": {}, **record}))
    with pytest.raises(ValueError, match=rf"scored.json' is damaged: (it )?{message}"):
        known_scores(path, {})
