"""What evolution finds, and random search beside it, on a small plan that really trains."""

import pytest
from studies import plan_of

from experiments.studies.ranking.cosines import Cosines
from experiments.studies.ranking.halving import Halvings
from experiments.studies.ranking.searched import Searched
from experiments.studies.study import Study
from nni_magic.search import Evolution
from nni_magic.support.files import read_json

CHANGES = {
    "children": {"n": 3, "steps": 4, "repeated": 3, "seeds": [0, 1]},
    "comparison": {"pairs": 2, "rows": 4},
    "search": {"generations": 2, "population": 3},
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
def test_child_found_is_that_of_evolution_by_the_scores_of_the_supernet(study, monkeypatch):
    searched = Searched(study)
    searched.work()
    assert not list(searched.missing())
    found = searched.found()
    assert set(found) == {"spos", "few_shot"}
    for name, by_seed in found.items():
        evaluate = study.child_evaluator(study.checkpoint(name, 0))
        evolution = Evolution(generations=2, population=3, seed=0)
        ranked = evolution.search(study.domain.make_space(), evaluate)
        assert by_seed[0]["found"] == ranked[0].sample
        assert by_seed[0]["n_scored"] == len(ranked)
    monkeypatch.setattr(study, "child_evaluator", None)
    Searched(study).work()  # nothing is done twice


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
def test_neither_search_nor_comparison_changes_what_was_trained(study, corpus, tmp_path):
    files = [study.supernet_file("spos", 0), study.checkpoint("spos", 0)]
    before = [path.read_bytes() for path in files]
    Cosines(study).work()
    Searched(study).work()
    assert [path.read_bytes() for path in files] == before
    plain = plan_of(tmp_path, corpus, **{**CHANGES, "search": None, "comparison": None})
    assert Study(plain, study.output, corpus / "cache").read_supernet("spos", 0) == read_json(
        study.supernet_file("spos", 0)
    )
