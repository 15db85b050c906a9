"""What a trained supernet is searched and measured for, on a small plan that really trains."""

import numpy as np
import pytest
import torch
from studies import plan_of

from experiments.studies.ranking import searched as module
from experiments.studies.ranking.halving import Halvings
from experiments.studies.ranking.searched import Searched
from experiments.studies.study import Study
from nni_magic.support.files import read_json

CHANGES = {
    "children": {"n": 3, "steps": 4, "repeated": 3, "seeds": [0, 1]},
    "search": {"generations": 1, "population": 3, "pairs": 2, "rows": 4},
    "supernets": {
        "spos": {"strategy": "spos", "steps": 8, "seeds": [0]},
        "few_shot": {"strategy": "few_shot", "steps": 8, "seeds": [0]},
    },
}


@pytest.fixture(scope="module")
def study(corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("searched")
    study = Study(plan_of(folder, corpus, **CHANGES), folder / "runs", corpus / "cache")
    study.work()
    return study


@pytest.mark.slow
def test_child_is_found_and_the_supernet_measured(study, monkeypatch):
    searched = Searched(study)
    searched.work()
    assert not list(searched.missing())
    found = searched.found()
    assert set(found) == {"spos", "few_shot"}
    for record in (found["spos"][0], found["few_shot"][0]):
        assert record["n_scored"] == 3
        assert len(record["cosines"]) == 2
        assert all(-1 <= cosine <= 1 for cosine in record["cosines"])
        evaluate = study.child_evaluator(study.checkpoint(record_name(found, record), 0))
        scores = evaluate([record["found"], *study.children])
        assert np.isfinite(scores).all()
    weights = sum(weight.nbytes for weight in study.domain.make_space().parameters())
    assert weights < found["spos"][0]["peak_memory"] < 20 * weights
    assert 2 * weights < found["few_shot"][0]["peak_memory"]  # those of two parts
    monkeypatch.setattr(study, "child_evaluator", None)
    Searched(study).work()  # nothing is done twice


def record_name(found, record):
    return next(name for name, by_seed in found.items() if record in by_seed.values())


@pytest.mark.slow
def test_random_search_stops_the_worse_half_early(study, monkeypatch):
    made = []
    make = study.evaluator

    def watched(*arguments):
        made.append((arguments[2]["max_steps"], make(*arguments)))
        return made[-1][1]

    monkeypatch.setattr(study, "evaluator", watched)
    halvings = Halvings(study)
    halvings.work()
    record = halvings.found()["halving"][0]
    assert (record["n_children"], record["steps"]) == (4, 8)  # as many steps as of the supernet
    assert [stop for stop, _ in made] == [1, 1, 1, 1, 2, 2, 4]
    goes_on = ["ckpt_path" in evaluator.fit_kwargs for _, evaluator in made]
    assert goes_on == [False] * 4 + [True] * 3
    assert [one.trainer.global_step for _, one in made] == [stop for stop, _ in made]


@pytest.mark.slow
def test_search_does_not_change_what_was_trained(study, corpus, tmp_path):
    plain = plan_of(tmp_path, corpus, **{**CHANGES, "search": None})
    assert Study(plain, study.output, corpus / "cache").read_supernet("spos", 0) == read_json(
        study.supernet_file("spos", 0)
    )


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
        children={"n": 0, "steps": 1}, search={"pairs": 1, "rows": 6},
        supernets={"spos": {"strategy": "spos", "steps": 2, "seeds": [0]}},
    )  # fmt: skip
    searched = Searched(Study(plan, tmp_path / "runs", tmp_path / "cache"))
    for before in range(2):
        torch.manual_seed(before)
        searched.cosines("spos", 0)
    assert len(seen[0]) == 6 and torch.equal(*seen)
