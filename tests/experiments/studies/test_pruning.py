"""What pruning a mixture loses: plans, means over seeds, and what is trained once."""

import json
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import yaml

from experiments.studies import pruning
from experiments.studies.pruning import Plan, markdown, read_runs, summary

FOLDER = Path(__file__).parents[3] / "experiments" / "plans" / "mixtures"
PLANS = [FOLDER / "cells.yml", FOLDER / "chain.yml"]
SETTINGS = {
    "space": "chain", "epochs": 2, "seeds": [0, 1, 2], "baseline": "darts",
    "variants": {"gaea": {"strategy": "gaea"}, "darts": {"strategy": "darts"}},
}  # fmt: skip
LOST = {"gaea": [0.1, 0.2, 0.3], "darts": [0.3, 0.5, 0.4]}


def write(folder, plan):
    for name, lost in LOST.items():
        for seed, each in enumerate(lost):
            run = {
                "made_with": {"space": plan.space, "epochs": 2, "variant": plan.variants[name]},
                "seed": seed,
                "epochs": {"entropy": [1.6, 1.0 + each], "accuracy": [0.5, 0.9]},
                "mixture": 0.9, "child": 0.9 - each,
            }  # fmt: skip
            (folder / f"{name}_seed{seed}.json").write_text(json.dumps(run))


@pytest.mark.parametrize("path", PLANS, ids=lambda path: path.stem)
def test_plans_of_the_project_are_accepted(path):
    plan = Plan.read(path)
    assert len(plan.seeds) >= 5
    assert plan.baseline == "darts"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"space": "bert"}, "space is 'bert'; accepted are 'chain', 'cells'"),
        ({"seeds": [1, 1]}, r"seeds is \[1, 1\]; accepted are two different ones or more"),
        ({"baseline": "spos"}, "baseline is 'spos'; accepted are 'gaea', 'darts'"),
        ({"variants": {"darts": {"strategy": "spos"}}}, "strategy is 'spos'; accepted are 'gaea'"),
        ({"epochs": 0}, "epochs is 0; accepted are whole numbers of at least 1"),
        ({"steps": 3}, "settings: a setting is 'steps'; accepted are 'space', 'epochs', 'seeds'"),
        ({"epochs": None}, "settings: epochs is missing; accepted are values of type int"),
    ],
)
def test_wrong_plan_is_refused(change, message, tmp_path):
    path = tmp_path / "plan.yml"
    path.write_text(yaml.safe_dump({**SETTINGS, **change}, sort_keys=False))
    with pytest.raises(ValueError, match=message):
        Plan.read(path)


def test_differences_are_paired_over_seeds(tmp_path):
    plan = Plan(**SETTINGS)
    write(tmp_path, plan)
    gaea, darts = summary(read_runs(plan, tmp_path), "darts")
    assert darts["lost"].mean == pytest.approx(0.4)
    differences = np.subtract(LOST["gaea"], LOST["darts"])
    found = gaea["lost_difference"]
    expected = scipy.stats.t.interval(0.95, 2, differences.mean(), scipy.stats.sem(differences))
    assert found.interval == pytest.approx(expected)
    assert "| gaea | 1.200 (" in markdown([gaea, darts], "darts")


def test_run_of_other_settings_is_refused(tmp_path):
    write(tmp_path, Plan(**SETTINGS))
    variants = {**SETTINGS["variants"], "gaea": {"strategy": "gaea", "bilevel": False}}
    message = r"gaea_seed0.json' was made with .*: variant.bilevel is None there, and False here"
    with pytest.raises(ValueError, match=message):
        read_runs(Plan(**{**SETTINGS, "variants": variants}), tmp_path)


def test_run_of_other_settings_is_refused_before_a_training(tmp_path, monkeypatch):
    write(tmp_path, Plan(**SETTINGS))
    (tmp_path / "gaea_seed0.json").unlink()
    monkeypatch.setattr(pruning, "train", None)
    with pytest.raises(ValueError, match=r"seed\d.json' was made .* epochs is 2 there, and 3"):
        pruning.train_missing(Plan(**{**SETTINGS, "epochs": 3}), tmp_path)


def test_run_that_another_process_still_trains_is_named(tmp_path):
    write(tmp_path, Plan(**SETTINGS))
    (tmp_path / "gaea_seed1.json").unlink()
    with pytest.raises(ValueError, match="'gaea' of seed 1 is not trained yet: another process"):
        read_runs(Plan(**SETTINGS), tmp_path)


def test_what_is_there_is_not_trained_again(tmp_path, monkeypatch):
    plan, trained = Plan(**SETTINGS), []
    write(tmp_path, plan)
    (tmp_path / "gaea_seed1.json").unlink()
    monkeypatch.setattr(pruning, "train", lambda *run: trained.append(run) or {})
    pruning.train_missing(plan, tmp_path)
    assert trained == [(plan, "gaea", 1)]


def test_report_and_pictures_are_written(tmp_path, capsys):
    runs, plan = tmp_path / "runs", tmp_path / "plan.yml"
    runs.mkdir()
    write(runs, Plan(**SETTINGS))
    plan.write_text(yaml.safe_dump(SETTINGS, sort_keys=False))
    words = ["--plan", plan, "--runs", runs, "--output", tmp_path / "out", "--hardware", "here"]
    pruning.main(list(map(str, words)))
    kinds = {path.suffix for path in (tmp_path / "out").iterdir()}
    assert kinds == {".json", ".md", ".png", ".svg"}
    assert "| gaea | 1.200 (" in capsys.readouterr().out


@pytest.mark.slow
def test_training_gives_curves_and_child():
    run = pruning.train(Plan(**SETTINGS), "gaea", 0)
    assert len(run["epochs"]["entropy"]) == 2
    assert run["epochs"]["entropy"][-1] < run["epochs"]["entropy"][0] < np.log(5)
    assert 0 < run["child"] <= 1


def test_committed_records_are_those_of_the_plan():
    experiments = PLANS[0].parents[2]
    plan = Plan.read(experiments / "plans" / "mixtures" / "chain.yml")
    runs = read_runs(plan, experiments / "records" / "mixtures_chain")
    assert {name: len(found) for name, found in runs.items()} == dict.fromkeys(plan.variants, 5)
