"""Scores of children before their training are those that a training begins with."""

import pytest
from nni.nas.space import model_context
from studies import plan_of

from experiments.studies.gathered import gather
from experiments.studies.ranking import zero_costs
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
    ZeroCosts(study).work()
    assert not list(ZeroCosts(study).missing())
    for seed in (0, 1):
        scores = study.read_zero_cost(seed)["scores"]
        assert scores == [in_training(study, number, seed) for number in range(3)]
        assert {"snip", "synflow", "grad_norm"} <= scores[0].keys()


def test_children_have_the_scores_of_all_seeds_once_all_are_there(study):
    study.work(study.missing_children)
    assert [child.zero_cost for child in gather(study).children] == [{}] * 3
    ZeroCosts(study).work()
    of_seeds = [study.read_zero_cost(seed)["scores"] for seed in (0, 1)]
    for number, child in enumerate(gather(study).children):
        first, second = (scores[number] for scores in of_seeds)
        assert child.zero_cost == {name: {"0": first[name], "1": second[name]} for name in first}
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
    study.work(study.missing_children)
    more.zero_cost_file(1).unlink()
    ZeroCosts(study).work()  # of one child fewer than with the other seed
    assert all(child.zero_cost for child in gather(study).children)


def test_a_kill_loses_few_scores(study, monkeypatch):
    monkeypatch.setattr(zero_costs, "WRITTEN_EVERY", 2)
    score = ZeroCosts._score

    def killed(self, sample, seed):
        if sample == study.children[2]:
            raise KeyboardInterrupt
        return score(self, sample, seed)

    monkeypatch.setattr(ZeroCosts, "_score", killed)
    with pytest.raises(KeyboardInterrupt):
        ZeroCosts(study).work()
    assert len(study.read_zero_cost(0)["scores"]) == 2
    monkeypatch.setattr(ZeroCosts, "_score", score)
    ZeroCosts(study).work()
    assert study.read_zero_cost(0)["scores"] == [in_training(study, n, 0) for n in range(3)]


def test_scores_of_another_plan_are_refused(study, corpus, tmp_path):
    ZeroCosts(study).work()
    other = study_of(tmp_path, corpus, seed=7)
    with pytest.raises(ValueError, match="children"):
        list(ZeroCosts(other).missing())
