"""Rankings against ground truths of two schedules, on results that were made up."""

import json

import numpy as np
import pytest
import scipy.stats
from studies import PLAN, made_up

from experiments.studies.ranking import schedule as rank_schedule
from nni_magic.support.files import read_json, write_json

LONGER = {"children": {"n": 6, "steps": 4}, "supernets": {}}


@pytest.fixture
def folders(tmp_path, corpus):
    """A study, and one of fewer children whose order is the other way round."""
    for name in ("shorter", "longer"):
        (tmp_path / name).mkdir()
    shorter, truth = made_up(tmp_path / "shorter", corpus)
    longer, _ = made_up(tmp_path / "longer", corpus, **LONGER)
    for child in range(6):
        path = longer.child_file(child, 0)
        write_json(path, {**read_json(path), "val_loss": -truth[child]})
    return shorter, longer, truth


def run(folders, corpus, tmp_path):
    shorter, longer, _ = folders
    rank_schedule.main([
        "--plans", *(str(study.output.parent / "plan.yml") for study in (shorter, longer)),
        "--runs", str(shorter.output), str(longer.output), "--cache", str(corpus / "cache"),
        "--output", str(tmp_path / "out"), "--hardware", "cpu",
    ])  # fmt: skip
    [page] = (tmp_path / "out").glob("schedule_plan_cpu_*.md")
    return json.loads(page.with_suffix(".json").read_text()), page.read_text()


def test_taus_are_of_the_children_in_common(folders, corpus, tmp_path):
    record, page = run(folders, corpus, tmp_path)
    shorter, _, truth = folders
    assert record["steps"] == [2, 4]
    assert record["truths"][0] == pytest.approx(truth[:6])
    assert record["between"]["kendall_tau"] == pytest.approx(-1)
    # As in the study made up, magic_t ranks as the first ground truth does, and spos at random.
    assert record["rankings"]["magic_t"]["tau"] == pytest.approx([1, -1])
    assert record["rankings"]["magic_t"]["change_interval"] == pytest.approx([-2, -2])
    scores = [read_json(shorter.supernet_file("spos", seed))["scores"][:6] for seed in (0, 1)]
    taus = [scipy.stats.kendalltau(truth[:6], row).statistic for row in scores]
    assert record["rankings"]["spos"]["tau"] == pytest.approx([np.mean(taus), -np.mean(taus)])
    params = [read_json(shorter.child_file(child, 0))["params"] for child in range(6)]
    tau = scipy.stats.kendalltau(truth[:6], np.negative(params)).statistic
    assert record["rankings"]["most params"]["tau"] == pytest.approx([tau, -tau])
    assert "| magic_t | 2 | 1.000 | -1.000 | -2.000 | -2.000 to -2.000 |" in page


def test_too_few_children_in_common_are_named(folders, corpus, tmp_path):
    _, longer, _ = folders
    for child in range(4):
        longer.child_file(child, 0).unlink()
    with pytest.raises(ValueError, match="2 trained children in common; a ranking needs at least"):
        run(folders, corpus, tmp_path)


def test_scores_that_rank_nothing_are_named(folders, corpus, tmp_path):
    path = folders[0].supernet_file("spos", 1)
    write_json(path, {**read_json(path), "scores": [1.0] * PLAN["children"]["n"]})
    with pytest.raises(ValueError, match="spos: scores is the same for all children"):
        run(folders, corpus, tmp_path)


def test_plans_that_train_otherwise_are_refused(folders, corpus, tmp_path):
    _, longer, _ = folders
    plan = longer.output.parent / "plan.yml"
    plan.write_text(plan.read_text().replace("learning_rate: 0.001", "learning_rate: 0.002"))
    with pytest.raises(ValueError, match=r"training.learning_rate is 0.001 there, and 0.002 here"):
        run(folders, corpus, tmp_path)
