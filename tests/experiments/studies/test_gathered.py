"""The results of a study, gathered from files that were made up."""

import json

import numpy as np
import pytest
from studies import PLAN, made_up

from experiments.studies.gathered import gather
from nni_magic.support.files import read_json, write_json


def test_gather_takes_what_there_is(tmp_path, corpus):
    study, truth = made_up(tmp_path, corpus)
    study.child_file(5, 0).unlink()
    study.child_file(2, 1).unlink()
    study.supernet_file("magic_t", 1).unlink()
    record = gather(study)
    assert [child.number for child in record.children] == [0, 1, 2, 3, 4, 5, 6, 7]
    assert record.children[2].truth.keys() == {"0", "2"}
    assert record.children[0].truth["0"] == pytest.approx(truth[0])
    assert record.children[0].sample == study.children[0]
    assert {name: list(found) for name, found in record.supernets.items()} == {
        "spos": ["0", "1"], "magic_t": ["0"],
    }  # fmt: skip


def test_supernets_that_have_not_scored_all_children_are_left_out(tmp_path, corpus):
    study, _ = made_up(tmp_path, corpus)
    for seed in (0, 1):
        path = study.supernet_file("magic_t", seed)
        write_json(path, {**read_json(path), "scores": [4.0] * (7 + seed)})
    assert gather(study).supernets["magic_t"].keys() == {"1"}


def test_scores_without_calibration_have_a_name_of_their_own(tmp_path, corpus):
    study, _ = made_up(tmp_path, corpus)
    path = study.supernet_file("magic_t", 1)
    found = read_json(path)
    write_json(path, {**found, "uncalibrated": [5.0] * 8})
    record = gather(study)
    assert record.supernets["magic_t, uncalibrated"].keys() == {"1"}
    assert record.supernets["magic_t, uncalibrated"]["1"]["scores"] == [5.0] * 8
    assert record.supernets["magic_t"]["1"]["scores"] == found["scores"]


def test_children_are_ranked_by_the_mean_over_the_seeds_that_all_have(tmp_path, corpus):
    children = {**PLAN["children"], "repeated": PLAN["children"]["n"]}
    study, _ = made_up(tmp_path, corpus, children=children)
    study.child_file(3, 2).unlink()
    ranked = gather(study).ranked()
    assert ranked.seeds == ["0", "1"]
    losses = [read_json(study.child_file(5, seed))["val_loss"] for seed in (0, 1)]
    assert ranked.truth[5] == pytest.approx(sum(losses) / 2)


def test_child_without_the_first_seed_is_not_ranked(tmp_path, corpus):
    study, truth = made_up(tmp_path, corpus)
    study.child_file(2, 0).unlink()
    ranked = gather(study).ranked()
    assert ranked.numbers.tolist() == [0, 1, 3, 4, 5, 6, 7]
    assert ranked.truth == pytest.approx(np.delete(truth, 2))


def test_study_without_children_ranks_none(tmp_path, corpus):
    study, _ = made_up(tmp_path, corpus)
    for path in study.output.glob("children/*"):
        path.unlink()
    assert [len(one) for one in gather(study).ranked()[:2]] == [0, 0]


def test_json_has_the_names_that_reports_have_always_had(tmp_path, corpus):
    study, truth = made_up(tmp_path, corpus)
    record = json.loads(json.dumps(gather(study).to_json()))
    assert list(record) == ["plan", "ground_truth", "trained_on", "children", "supernets"]
    assert list(record["plan"]) == [
        "space", "training", "children", "supernets", "epoch_steps", "score_rows", "domain",
        "options", "comparison", "search",
    ]  # fmt: skip
    assert record["ground_truth"] == {
        "name": "validation loss, trained from scratch", "unit": "nats"
    }  # fmt: skip
    assert record["trained_on"] == ["cpu"]
    file = read_json(study.child_file(1, 0))
    assert record["children"][1] == {
        "number": 1, "sample": study.children[1], "params": file["params"],
        "flops": file["flops"], "truth": {"0": pytest.approx(truth[1])},
        "val_accuracy": {"0": 0.1}, "cpu_seconds": {"0": 1.0}, "zero_cost": {},
    }  # fmt: skip
    assert record["supernets"]["spos"]["1"] == read_json(study.supernet_file("spos", 1))
