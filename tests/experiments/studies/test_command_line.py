"""What the command lines of all studies have in common."""

import logging
from pathlib import Path

import pytest
import torch
from studies import plan_of

from experiments.studies.command_line import (
    check_paired,
    check_supernets,
    open_study,
    study_parser,
)


def test_places_and_threads_are_read():
    words = ["--plan", "a.yml", "--runs", "b", "--data", "c", "--threads", "3", "--output", "d"]
    settings = study_parser("What it does.").parse_args(words)
    assert (settings.plan, settings.runs, settings.data) == (Path("a.yml"), Path("b"), Path("c"))
    assert (settings.threads, settings.output) == (3, Path("d"))
    assert settings.cache == Path("experiments/runs/cache")


@pytest.mark.parametrize("missing", ["--plan", "--runs"])
def test_plan_and_runs_are_required(missing, capsys):
    words = {"--plan": "a.yml", "--runs": "b"}
    del words[missing]
    with pytest.raises(SystemExit):
        study_parser(None).parse_args([word for pair in words.items() for word in pair])
    assert f"the following arguments are required: {missing}" in capsys.readouterr().err


def test_study_is_opened_with_its_threads_and_says_what_it_does(tmp_path, corpus, monkeypatch):
    plan = plan_of(tmp_path)
    threads = []
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    logger = logging.getLogger("experiments")
    monkeypatch.setattr(logger, "level", logging.WARNING)
    words = [
        "--plan", str(tmp_path / "plan.yml"), "--runs", str(tmp_path / "runs"), "--threads", "1",
        "--cache", str(corpus / "cache"), "--data", str(corpus),
    ]  # fmt: skip
    study = open_study(study_parser(None).parse_args(words))
    assert study.plan == plan
    assert study.output == tmp_path / "runs"
    assert study.other_data  # --data is taken
    assert threads == [1]
    assert logger.level == logging.INFO


def test_supernets_that_the_plan_has_not_are_named(tmp_path):
    plan = plan_of(tmp_path)
    check_supernets(plan, ["magic_t", "spos"])
    with pytest.raises(ValueError, match="supernets is 'darts'; accepted are 'magic_t', 'spos'"):
        check_supernets(plan, ["spos", "darts"])


@pytest.mark.parametrize(("seeds", "message"), [
    ({"spos": (0, 1), "a": (0,)}, r"seeds of a is \[0\]; accepted are two or more of those of"),
    ({"spos": (0, 1), "a": (1, 2)}, r"seeds of a is \[1, 2\]; accepted are .* of spos, \[0, 1\]"),
    ({"spos": (0,), "a": (0,)}, r"seeds of spos is \[0\]; accepted are two"),
])  # fmt: skip
def test_seeds_that_make_no_pairs_are_named(seeds, message):
    with pytest.raises(ValueError, match=message):
        check_paired(seeds, "spos")


def test_some_of_the_baselines_seeds_are_enough():
    check_paired({"spos": (0, 1, 2), "a": (2, 0)}, "spos")
