"""The cells that mixtures end at: plans, what stands beside, and what is trained once."""

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import yaml

from experiments.studies import mixtures
from experiments.studies.mixtures import Plan, beside, markdown, read_runs, summary
from experiments.studies.nasbench201 import CELLS

FOLDER = Path(__file__).parents[3] / "experiments" / "plans" / "mixtures"
PLANS = sorted(FOLDER.glob("nasbench201*.yml"))
SETTINGS = {
    "options": {"resolution": 8, "held_out": 0.5},
    "space": {"stem_out_channels": 4, "num_modules_per_stack": 1},
    "training": {"batch_size": 16, "learning_rate": 0.05, "warmup_steps": 1, "weight_decay": 0.0},
    "epochs": 2, "epoch_steps": 2, "seeds": [0, 1, 2],
    "variants": {"gaea": {"strategy": "gaea"}, "darts": {"strategy": "darts"}},
}  # fmt: skip
DOMAIN = SimpleNamespace(images_digest="abc")
ENDED = {"gaea": ["333132", "111111", "000000"], "darts": ["111111", "111111", "222222"]}


@pytest.fixture
def plan(tmp_path):
    path = tmp_path / "plan.yml"
    path.write_text(yaml.safe_dump(SETTINGS, sort_keys=False))
    return Plan.read(path)


@pytest.fixture
def published():
    """A table in which a cell is as good as its number is large."""
    names = sorted(CELLS)
    return pd.DataFrame({"cifar10_val": np.linspace(10, 90, len(names))}, index=names)


def write(folder, plan):
    for name, cells in ENDED.items():
        for seed, cell in enumerate(cells):
            made = {key: value for key, value in dataclasses.asdict(plan).items()
                    if key not in ("seeds", "variants")}  # fmt: skip
            run = {
                "made_with": {**made, "variant": plan.variants[name]}, "seed": seed, "cell": cell,
                "images": "abc",
                "epochs": {"entropy": [1.6, 1.0 + seed], "accuracy": [0.1, 0.3]}, "inherited": 0.2,
            }  # fmt: skip
            (folder / f"{name}_seed{seed}.json").write_text(json.dumps(run))


def test_plans_of_the_project_are_accepted():
    assert {path.stem for path in PLANS} == {"nasbench201", "nasbench201_small"}
    for path in PLANS:
        assert len(Plan.read(path).seeds) >= 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seeds": [1, 1]}, r"seeds is \[1, 1\]; accepted are two different ones or more"),
        ({"variants": {"a": {"strategy": "spos"}}}, "a: strategy is 'spos'; accepted are 'gaea'"),
        ({"epochs": 0}, "epochs is 0; accepted are whole numbers of at least 1"),
        ({"steps": 3}, "settings: a setting is 'steps'; accepted are"),
        ({"training": {"batch_size": 1}}, "training: learning_rate is missing"),
    ],
)
def test_wrong_plan_is_refused(change, message, tmp_path):
    path = tmp_path / "plan.yml"
    path.write_text(yaml.safe_dump({**SETTINGS, **change}, sort_keys=False))
    with pytest.raises(ValueError, match=message):
        Plan.read(path)


def test_accuracies_are_the_tables_and_the_interval_is_over_seeds(plan, published, tmp_path):
    write(tmp_path, plan)
    rows = summary(read_runs(plan, tmp_path), published)
    gaea = rows[0]
    expected = [float(published.cifar10_val[cell]) for cell in ENDED["gaea"]]
    assert gaea["accuracy"].mean == pytest.approx(np.mean(expected))
    low, high = scipy.stats.t.interval(0.95, 2, np.mean(expected), scipy.stats.sem(expected))
    assert gaea["accuracy"].interval == pytest.approx((low, high))
    assert gaea["skips"].mean == pytest.approx((1 + 6 + 0) / 3)
    # The order of names is that of the accuracies: five to the power of six cells in all.
    better = [15624 - int(cell, 5) for cell in ENDED["gaea"]]
    assert gaea["rank"].mean == pytest.approx(np.mean(better) / 15625 * 100)
    trivial = beside(published)
    assert trivial["skip connections alone"] == published.cifar10_val["111111"]
    assert trivial["a random cell, on average"] == pytest.approx(50)
    text = markdown(rows, published)
    assert "333132 111111 000000" in text and "| the best cell | 90.000 |" in text


def test_run_of_other_settings_and_too_few_are_refused(plan, tmp_path):
    write(tmp_path, plan)
    other = dataclasses.replace(plan, epochs=3)
    with pytest.raises(ValueError, match="made with other settings: epochs is 2 there, and 3 here"):
        read_runs(other, tmp_path)
    for seed in (1, 2):
        (tmp_path / f"darts_seed{seed}.json").unlink()
    with pytest.raises(ValueError, match="'darts' has 1 trainings; accepted are two or more"):
        read_runs(plan, tmp_path)


def test_run_of_other_settings_or_images_is_refused_before_a_training(plan, tmp_path, monkeypatch):
    write(tmp_path, plan)
    (tmp_path / "gaea_seed0.json").unlink()
    monkeypatch.setattr(mixtures, "train", None)
    message = "gaea_seed1.json' was made .*: epochs is 2 there, and 3 here"
    with pytest.raises(ValueError, match=message):
        mixtures.train_missing(dataclasses.replace(plan, epochs=3), DOMAIN, tmp_path)
    message = "gaea_seed1.json' was made .*: images is 'abc' there, and 'other' here"
    with pytest.raises(ValueError, match=message):
        mixtures.train_missing(plan, SimpleNamespace(images_digest="other"), tmp_path)


def test_what_is_there_is_not_trained_again(plan, tmp_path, monkeypatch):
    trained = []
    write(tmp_path, plan)
    (tmp_path / "gaea_seed1.json").unlink()
    monkeypatch.setattr(mixtures, "train", lambda *run: trained.append(run[2:]) or {})
    mixtures.train_missing(plan, DOMAIN, tmp_path)
    assert trained == [("gaea", 1)]


@pytest.mark.slow
def test_study_trains_and_reports(published, tmp_path, capsys):
    from cifar import noise

    folder = noise(tmp_path / "images")
    published.reset_index(names="cell").assign(params_m=1.0).to_csv(folder / "nasbench201.csv")
    plan = tmp_path / "plan.yml"
    plan.write_text(yaml.safe_dump({**SETTINGS, "seeds": [0, 1]}, sort_keys=False))
    words = ["--plan", plan, "--runs", tmp_path / "runs", "--data", folder, "--threads", 1,
             "--output", tmp_path / "out", "--hardware", "here"]  # fmt: skip
    mixtures.main(list(map(str, words)))
    run = json.loads((tmp_path / "runs" / "gaea_seed0.json").read_text())
    assert len(run["epochs"]["cell"]) == 2 and run["cell"] == run["epochs"]["cell"][-1]
    assert {path.suffix for path in (tmp_path / "out").iterdir()} == {".json", ".md"}
    assert run["cell"] in capsys.readouterr().out
