"""The numbers of a study of rank correlation, on results that were made up."""

import dataclasses
import json

import numpy as np
import pytest
import scipy.stats
from studies import PLAN, made_up

from experiments.studies.gathered import gather
from experiments.studies.ranking.statistics import statistics
from nni_magic.analysis import seeds
from nni_magic.support.files import read_json, write_json

HALVES = {
    "all": slice(None), "first half": slice(0, None, 2), "second half": slice(1, None, 2)
}  # fmt: skip


@pytest.fixture(scope="module")
def study(tmp_path_factory, corpus):
    return made_up(tmp_path_factory.mktemp("study"), corpus)


@pytest.fixture(scope="module")
def found(study):
    return statistics(gather(study[0]))


def test_tau_is_that_of_scipy(study, found):
    study, truth = study
    for name in ("spos", "magic_t"):
        for seed in (0, 1):
            scores = read_json(study.supernet_file(name, seed))["scores"]
            for half, part in HALVES.items():
                expected = scipy.stats.kendalltau(truth[part], scores[part]).statistic
                here = found.halves[half].supernets[name]
                assert here.seeds[str(seed)].kendall_tau == pytest.approx(expected)
                assert here.mean_loss[str(seed)] == pytest.approx(np.mean(scores[part]))
    assert found.halves["all"].supernets["magic_t"].kendall_tau.mean == (pytest.approx(1))


def test_agreement_between_seeds_is_the_mean_over_their_pairs(tmp_path, corpus):
    settings = {**PLAN["supernets"], "spos": {"strategy": "spos", "steps": 4, "seeds": [0, 1, 2]}}
    study, _ = made_up(tmp_path, corpus, supernets=settings)
    scores = [read_json(study.supernet_file("spos", seed))["scores"] for seed in range(3)]
    signs = [np.sign(np.subtract.outer(one, one))[np.triu_indices(8, 1)] for one in scores]
    expected = np.mean([(signs[0] * signs[1]).mean(), (signs[0] * signs[2]).mean(),
                        (signs[1] * signs[2]).mean()])  # fmt: skip
    found = statistics(gather(study)).halves["all"].supernets
    assert found["spos"].tau_between_seeds == pytest.approx(expected)
    assert abs(expected) < 1
    assert found["magic_t"].tau_between_seeds == pytest.approx(1)


def test_tau_of_mean_scores_ranks_what_all_seeds_say(study, found):
    study, truth = study
    scores = [read_json(study.supernet_file("spos", seed))["scores"] for seed in (0, 1)]
    expected = scipy.stats.kendalltau(truth, np.sum(scores, axis=0)).statistic
    spos = found.halves["all"].supernets["spos"]
    assert spos.tau_of_mean == pytest.approx(expected)
    assert spos.tau_of_mean != pytest.approx(spos.kendall_tau.mean)


def test_child_stays_in_its_half_while_others_are_missing(tmp_path, corpus):
    study, truth = made_up(tmp_path, corpus)
    study.child_file(1, 0).unlink()
    halves = statistics(gather(study)).halves
    assert {half: found.n for half, found in halves.items()} == {
        "all": 7, "first half": 4, "second half": 3, "best half": 4,
    }  # fmt: skip
    scores = read_json(study.supernet_file("spos", 0))["scores"]
    for half, numbers in (("first half", [0, 2, 4, 6]), ("second half", [3, 5, 7])):
        expected = scipy.stats.kendalltau(truth[numbers], np.array(scores)[numbers]).statistic
        tau = halves[half].supernets["spos"].seeds["0"].kendall_tau
        assert tau == pytest.approx(expected)


def test_children_that_are_not_trained_are_left_out_of_the_scores(tmp_path, corpus):
    study, _ = made_up(tmp_path, corpus)
    for seed in (0, 1, 2):
        study.child_file(2, seed).unlink()
    found = statistics(gather(study))
    one = found.halves["all"].supernets["magic_t"].seeds["0"]
    assert one.n == 7
    assert one.kendall_tau == pytest.approx(1)
    assert found.ceiling is None  # two repeated children are left


def test_trivial_rankings_stand_beside(study, found):
    study, truth = study
    n_ffn = [sum(c == "ffn" for c in child.values()) for child in study.children]
    by_params = scipy.stats.kendalltau(truth, [-n for n in n_ffn]).statistic
    trivial = found.halves["all"].trivial
    assert {name: one.kendall_tau for name, one in trivial.items()} == {
        "fewest params": pytest.approx(-by_params), "most params": pytest.approx(by_params),
        "fewest flops": pytest.approx(by_params), "most flops": pytest.approx(-by_params),
        "random": 0,
    }  # fmt: skip


def test_depth_is_a_trivial_ranking_where_blocks_can_be_left_out(study, monkeypatch):
    study, truth = study
    monkeypatch.setattr(study.plan.kind, "skips", ("ffn",))
    depths = [sum(choice != "ffn" for choice in child.values()) for child in study.children]
    expected = scipy.stats.kendalltau(truth, depths).statistic
    trivial = statistics(gather(study)).halves["all"].trivial
    assert trivial["fewest blocks"].kendall_tau == pytest.approx(expected)
    assert trivial["most blocks"].kendall_tau == pytest.approx(-expected)


def test_best_half_is_the_better_one_by_the_ground_truth(study, found):
    study, truth = study
    best = np.array(truth) <= np.median(truth)
    scores = np.array(read_json(study.supernet_file("spos", 0))["scores"])
    expected = scipy.stats.kendalltau(np.array(truth)[best], scores[best]).statistic
    here = found.halves["best half"]
    assert here.n == best.sum()
    assert here.supernets["spos"].seeds["0"].kendall_tau == pytest.approx(expected)


def test_methods_are_compared_with_the_best_trivial_ranking(study, found):
    study, truth = study
    here = found.halves["all"]
    n_ffn = np.array([sum(c == "ffn" for c in child.values()) for child in study.children])
    by_params = scipy.stats.kendalltau(truth, n_ffn).statistic
    assert here.best_trivial == ("fewest params" if by_params > 0 else "most params")
    assert here.beyond.keys() == {"spos", "magic_t"}
    for name, beyond in here.beyond.items():
        rankings = here.supernets[name].seeds.values()
        expected = seeds.over_seeds([one.kendall_tau - abs(by_params) for one in rankings])
        assert beyond.difference.mean == pytest.approx(expected.mean), name
        assert beyond.difference.interval == pytest.approx(expected.interval)
    # Over other children it is less sure, though magic_t ranks these the same with every seed.
    low, high = here.beyond["magic_t"].joint_interval
    assert low < 1 - abs(by_params) < high


def test_losses_go_with_the_number_of_a_candidate(study, found):
    study, truth = study
    n_ffn = [sum(c == "ffn" for c in child.values()) for child in study.children]
    scores = [read_json(study.supernet_file("spos", seed))["scores"] for seed in (0, 1)]
    expected = {
        "ground truth": scipy.stats.kendalltau(n_ffn, truth).statistic,
        "spos": np.mean([scipy.stats.kendalltau(n_ffn, one).statistic for one in scores]),
        "magic_t": scipy.stats.kendalltau(n_ffn, truth).statistic,
    }
    candidates = found.halves["all"].candidates
    assert candidates["ffn"] == pytest.approx(expected)
    # Of two candidates, fewer of the one is more of the other.
    assert candidates["conv3"] == pytest.approx({name: -tau for name, tau in expected.items()})


def test_candidate_that_all_children_have_as_often_says_nothing(tmp_path, corpus):
    study, _ = made_up(tmp_path, corpus)
    record = gather(study)
    children = [
        dataclasses.replace(child, sample=dict.fromkeys(child.sample, "ffn"))
        for child in record.children
    ]
    assert statistics(dataclasses.replace(record, children=children)).halves["all"].candidates == {}


def test_mean_tau_has_an_interval_over_seeds_and_children(study, found):
    study, truth = study
    for name in ("spos", "magic_t"):
        scores = [read_json(study.supernet_file(name, seed))["scores"] for seed in (0, 1)]
        expected = seeds.joint_interval(truth, scores)
        joint = found.halves["all"].supernets[name].joint_interval
        assert joint == pytest.approx(expected)


def test_methods_are_compared_with_spos_seed_by_seed(found):
    [one] = found.halves["all"].comparisons
    assert (one.supernet, one.against) == ("magic_t", "spos")
    assert one.difference.n == 2
    spos = found.halves["all"].supernets["spos"].kendall_tau.mean
    assert one.difference.mean == pytest.approx(1 - spos)
    # The scores of magic_t, of every seed, are the ground truth's ranking.
    assert one.tau_between_seeds == pytest.approx(spos)


def test_both_methods_together_are_compared_with_each(tmp_path, corpus):
    seeds_of = {"spos": [0, 1], "magic_t": [0, 1, 2], "magic_a": [1, 2], "magic_at": [0, 1, 2]}
    supernets = {n: {"strategy": n, "steps": 8, "seeds": s} for n, s in seeds_of.items()}
    study, _ = made_up(tmp_path, corpus, supernets=supernets)
    found = statistics(gather(study))
    pairs = {
        (one.supernet, one.against): one.difference.n for one in found.halves["all"].comparisons
    }
    assert pairs == {  # magic_a has one seed in common with spos, too few
        ("magic_t", "spos"): 2, ("magic_at", "spos"): 2,
        ("magic_at", "magic_t"): 3, ("magic_at", "magic_a"): 2,
    }  # fmt: skip


def test_method_of_one_seed_has_no_interval(tmp_path, corpus):
    study, _ = made_up(tmp_path, corpus)
    study.supernet_file("magic_t", 1).unlink()
    found = statistics(gather(study)).halves["all"]
    one = found.supernets["magic_t"]
    assert one.seeds["0"].kendall_tau == pytest.approx(1)
    assert one.kendall_tau is one.joint_interval is None
    assert found.beyond.keys() == {"spos"}
    assert one.tau_between_seeds is one.tau_of_mean is None
    assert found.comparisons == []


def test_values_of_settings_are_sorted_and_of_what_is_there(tmp_path, corpus):
    some = {"strategy": "magic_t", "steps": 4, "seeds": [0, 1, 2]}
    supernets = {
        "magic_t": {**some, "values": {"k": 1, "walks": 1}},
        "quick": {**some, "options": {"k": 4}, "values": {"k": 4}, "seeds": [1, 2]},
        "middle": {**some, "options": {"k": 2}, "values": {"k": 2}},
        "walks": {**some, "options": {"walks": 3}, "values": {"walks": 3}},
    }
    study, _ = made_up(tmp_path, corpus, supernets=supernets)
    for seed in (0, 1, 2):
        study.supernet_file("walks", seed).unlink()
    found = statistics(gather(study))
    assert {
        setting: (one.seeds, [(value.value, value.supernets) for value in one.values])
        for setting, one in found.settings.items()
    } == {
        "k": (["1", "2"], [(1, "magic_t"), (2, "middle"), (4, "quick")]),
        "walks": (["0", "1", "2"], [(1, "magic_t")]),
    }
    # Without the baseline they are compared with what they are variants of.
    assert {
        (one.supernet, one.against, one.difference.n) for one in found.halves["all"].comparisons
    } == {("middle", "magic_t", 3), ("quick", "magic_t", 2)}


def test_ceiling_is_from_the_repeated_children(found):
    assert found.ceiling.n == 3
    assert found.ceiling.seeds == 3
    assert found.ceiling.tau_ceiling > 0.95  # the noise made up is small


def test_ceiling_is_from_children_with_all_seeds_though_the_truth_has_fewer(tmp_path, corpus):
    children = {**PLAN["children"], "repeated": PLAN["children"]["n"]}
    study, _ = made_up(tmp_path, corpus, children=children)
    study.child_file(3, 2).unlink()
    found = statistics(gather(study))
    assert found.truth_seeds == ["0", "1"]
    assert found.ceiling.seeds == 3
    assert found.ceiling.n == 7


def test_json_has_the_names_that_reports_have_always_had(found):
    record = json.loads(json.dumps(found.to_json()))
    assert list(record) == ["truth_seeds", "ceiling", "settings", "halves", "chosen"]
    assert record["halves"]["all"].keys() == {
        "n", "trivial", "supernets", "comparisons", "best trivial", "beyond", "candidates",
        "changes", "anchors",
    }  # fmt: skip
    [pair] = record["halves"]["all"]["comparisons"]
    assert pair.keys() == {
        "supernet", "against", "n", "taus_a", "taus_b", "difference", "t_test_p", "wilcoxon_p",
        "joint_interval", "tau_between_seeds",
    }  # fmt: skip
    spos = record["halves"]["all"]["supernets"]["spos"]
    assert spos["seeds"]["0"]["precision_at"].keys() == {"1", "5"}


def test_scores_without_calibration_are_ranked_too(tmp_path, corpus):
    study, truth = made_up(tmp_path, corpus)
    for seed in (0, 1):
        path = study.supernet_file("magic_t", seed)
        write_json(path, {**read_json(path), "uncalibrated": (-truth).tolist()})
    found = statistics(gather(study)).halves["all"]
    assert found.supernets.keys() == {"spos", "magic_t", "magic_t, uncalibrated"}
    ranking = found.supernets["magic_t, uncalibrated"].seeds["0"]
    assert ranking.kendall_tau == pytest.approx(-1)
    pairs = {(one.supernet, one.against) for one in found.comparisons}
    assert pairs == {("magic_t", "spos"), ("magic_t, uncalibrated", "magic_t")}
