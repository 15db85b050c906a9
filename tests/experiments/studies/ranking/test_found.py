"""What searches have found has the ground truth that training it alone gives."""

import numpy as np
import pytest
from studies import plan_of

from experiments.studies.measurements import Measurements
from experiments.studies.ranking.found import FoundChildren
from experiments.studies.study import Study
from nni_magic.children.samples import digest
from nni_magic.samplers import UniformSampler

SUPERNETS = {"spos": {"strategy": "spos", "steps": 4, "seeds": [0, 1]}}


class Made(Measurements):
    """Two searches, of which nothing but the children that they found is known."""

    def __init__(self, study, children):
        super().__init__(study, study.output / "searched", {"spos": (0, 1)})
        for seed, child in enumerate(children):
            self.save("spos", seed, {"found": child, "cosines": [seed]})

    def made_with(self, name):
        return {}

    def measure(self, name, seed):
        raise AssertionError("all is measured")


def study_of(folder, corpus, seeds, **children):
    children = {"n": 3, "steps": 2, "repeated": 3, "seeds": seeds, **children}
    plan = plan_of(folder, corpus, children=children, supernets=SUPERNETS)
    return Study(plan, folder / "runs", corpus / "cache")


@pytest.fixture
def study(corpus, tmp_path):
    return study_of(tmp_path, corpus, [0, 1])


def other_child(study):
    draw = UniformSampler(study.domain.make_space(), seed=7)
    return next(child for child in iter(draw.next, None) if child not in study.children)


def loss(study, child, seed):
    return study.train_sample(child, seed)["val_loss"]


def test_truth_is_the_mean_of_trainings_with_the_seeds_of_the_ground_truth(study):
    child = other_child(study)
    found = FoundChildren(study, [Made(study, [child, child])])
    assert found.found()["spos"][0] == {
        "made_with": {}, "found": child, "cosines": [0], "truth": None,
    }  # fmt: skip
    found.work()
    assert not list(found.missing())
    files = {path.name for path in (study.output / "found").glob("*.json")}
    assert files == {f"{digest(child)}_seed{seed}.json" for seed in (0, 1)}
    expected = np.mean([loss(study, child, 0), loss(study, child, 1)])
    assert [one["truth"] for one in found.found()["spos"].values()] == [expected] * 2


def test_a_seed_more_trains_what_is_new_alone(study, corpus, tmp_path):
    child = other_child(study)
    FoundChildren(study, [Made(study, [child])]).work()
    more = study_of(tmp_path, corpus, [0, 1, 2])
    found = FoundChildren(more, [Made(more, [child])])
    [(path, _)] = found.missing()
    assert path.name == f"{digest(child)}_seed2.json"
    assert found.truth(child) is None
    found.work()
    assert found.truth(child) == np.mean([loss(more, child, seed) for seed in range(3)])


def test_child_of_the_plan_is_not_trained_again(study):
    study.work(study.missing_children)
    found = FoundChildren(study, [Made(study, [study.children[1]])])
    assert not list(found.missing())
    losses = [study.read_child(1, seed)["val_loss"] for seed in (0, 1)]
    assert found.found()["spos"][0]["truth"] == np.mean(losses)


def test_where_not_every_child_has_all_seeds_the_first_one_counts(corpus, tmp_path):
    study = study_of(tmp_path, corpus, [0, 1], repeated=1)
    child = other_child(study)
    found = FoundChildren(study, [Made(study, [child])])
    found.work()
    assert found.truth(child) == loss(study, child, 0)


def test_published_child_is_looked_up(study, monkeypatch):
    child = other_child(study)
    monkeypatch.setattr(type(study.domain), "trains_children", False)
    monkeypatch.setattr(
        type(study.domain), "published", lambda self, sample, seed: {"val_loss": 2.0 + seed},
        raising=False,
    )  # fmt: skip
    found = FoundChildren(study, [Made(study, [child])])
    assert not list(found.missing())
    assert found.truth(child) == 2.5
