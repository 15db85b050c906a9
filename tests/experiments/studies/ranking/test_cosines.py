"""Cosines of gradients in trained supernets, on small plans."""

import numpy as np
import torch
from studies import plan_of

from experiments.studies.ranking import cosines as module
from experiments.studies.ranking.cosines import Cosines
from experiments.studies.study import Study

CHANGES = {
    "children": {"n": 0, "steps": 4},
    "comparison": {"pairs": 2, "rows": 4},
    "supernets": {
        "spos": {"strategy": "spos", "steps": 8, "seeds": [1, 0]},
        "few_shot": {"strategy": "few_shot", "steps": 8, "seeds": [0]},
    },
}


def test_gradients_of_pairs_are_measured_in_every_supernet(corpus, tmp_path, monkeypatch):
    study = Study(plan_of(tmp_path, corpus, **CHANGES), tmp_path / "runs", corpus / "cache")
    study.work()
    cosines = Cosines(study)
    cosines.work()
    assert not list(cosines.missing())
    found = cosines.found()
    assert {name: sorted(seeds) for name, seeds in found.items()} == {
        "spos": [0, 1], "few_shot": [0],
    }  # fmt: skip
    for record in (found["spos"][0], found["spos"][1], found["few_shot"][0]):
        assert len(record["cosines"]) == 2
        assert all(-1 <= cosine <= 1 for cosine in record["cosines"])
    monkeypatch.setattr(module, "load_supernet", None)
    Cosines(study).work()  # nothing is done twice


def test_gradients_are_of_the_same_images_whatever_was_drawn_before(tmp_path, monkeypatch):
    seen = []

    class Gradients:
        def __init__(self, part, evaluator, batches):
            [(images, _)] = batches
            seen.append(images)

        def similarity(self, label, pair):
            return np.eye(2)

    monkeypatch.setattr(module, "SharedGradients", Gradients)
    monkeypatch.setattr(module, "load_supernet", lambda path, space: space)
    plan = plan_of(
        tmp_path, domain="proxyless", space={}, options={"dataset": "digits", "held_out": 0.1},
        children={"n": 0, "steps": 1}, comparison={"pairs": 1, "rows": 6},
        supernets={"spos": {"strategy": "spos", "steps": 2, "seeds": [0]}},
    )  # fmt: skip
    cosines = Cosines(Study(plan, tmp_path / "runs", tmp_path / "cache"))
    for before in range(2):
        torch.manual_seed(before)
        cosines.cosines("spos", 0)
    assert len(seen[0]) == 6 and torch.equal(*seen)
