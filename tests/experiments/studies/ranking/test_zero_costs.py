"""Scores of children before their training are those that a training begins with."""

import pytest
from nni.nas.space import model_context
from studies import plan_of

from experiments.studies.gathered import gather
from experiments.studies.ranking.zero_costs import ZeroCosts
from experiments.studies.study import Study
from nni_magic.analysis.zero_cost import ZeroCost


def study_of(folder, corpus, n=3, **children):
    children = {"n": n, "steps": 4, "repeated": n, "seeds": [0, 1], **children}
    plan = plan_of(folder, corpus, children=children)
    return Study(plan, folder / "runs", corpus / "cache")


@pytest.fixture
def study(corpus, tmp_path):
    return study_of(tmp_path, corpus)


def in_training(study, number, seed):
    """Scores that a callback takes while a child is trained for its ground truth."""
    with model_context(study.children[number]):
        child = study.domain.seeded_space(seed)
    scorer = ZeroCost()
    settings = {"limit_val_batches": 0, "callbacks": [scorer]}
    study.evaluator(study.plan.children.steps, seed, settings).evaluate(child)
    return scorer.scores


def test_scores_are_those_at_the_start_of_the_training_of_each_seed(study):
    zero_costs = ZeroCosts(study)
    zero_costs.work()
    assert not list(zero_costs.missing())
    for seed in (0, 1):
        scores = study.read_zero_cost(seed)["scores"]
        assert scores == [in_training(study, number, seed) for number in range(3)]
        assert {"snip", "synflow", "grad_norm"} <= scores[0].keys()


def test_scores_of_a_child_are_means_over_the_seeds_once_all_are_there(study, monkeypatch):
    study.work(study.missing_children)
    assert [child.zero_cost for child in gather(study).children] == [{}] * 3
    ZeroCosts(study).work()
    of_seeds = [study.read_zero_cost(seed)["scores"] for seed in (0, 1)]
    for number, child in enumerate(gather(study).children):
        first, second = (scores[number] for scores in of_seeds)
        expected = {name: pytest.approx((first[name] + second[name]) / 2) for name in first}
        assert child.zero_cost == expected
    study.zero_cost_file(1).unlink()
    assert [child.zero_cost for child in gather(study).children] == [{}] * 3


def test_further_children_alone_are_scored(study, corpus, tmp_path, monkeypatch):
    ZeroCosts(study).work()
    before = study.read_zero_cost(0)["scores"]
    more = study_of(tmp_path, corpus, n=4)
    scored, score = [], ZeroCosts._score
    monkeypatch.setattr(
        ZeroCosts, "_score", lambda self, *one: scored.append(one) or score(self, *one)
    )
    ZeroCosts(more).work()
    assert scored == [(more.children[3], 0), (more.children[3], 1)]
    assert more.read_zero_cost(0)["scores"][:3] == before
    assert more.read_zero_cost(0)["scores"][3] == in_training(more, 3, 0)
    assert not list(ZeroCosts(study).missing())  # the plan of fewer has its own


def test_scores_of_another_plan_are_refused(study, corpus, tmp_path):
    ZeroCosts(study).work()
    other = study_of(tmp_path, corpus, seed=7)
    with pytest.raises(ValueError, match="children"):
        list(ZeroCosts(other).missing())
