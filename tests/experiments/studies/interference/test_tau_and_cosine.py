"""Kendall's tau against the cosine, on results that were made up."""

import numpy as np
import pytest
import scipy.stats
from studies import PLAN, made_up

from experiments.studies.interference.tau_and_cosine import draw, markdown, measured_taus
from nni_magic.analysis.study import InterferenceStudy
from nni_magic.support.files import read_json, write_json

SETTINGS = [(1, 1)]


def measured(cosine):
    matrix = np.array([[[1, cosine], [cosine, 1]]])
    return InterferenceStudy(("a", "b"), ("ffn", "conv3"), 0, 1, {(1, 1): matrix})


STUDIES = {
    "spos": {0: measured(0.1), 1: measured(0.2), 2: measured(0.3)},
    "magic_t": {0: measured(0.7), 1: measured(0.8)},
    "magic_a": {0: measured(0.4)},
}
TAUS = {"spos": {0: 0.6, 1: 0.5, 2: 0.4}, "magic_t": {0: 0.1, 1: 0.2}, "magic_a": {0: 0.3}}


def test_tau_is_of_the_supernets_that_are_measured(tmp_path, corpus):
    study, truth = made_up(tmp_path, corpus)
    found = measured_taus(study, {"spos": {1: measured(0.1)}})
    scores = read_json(study.supernet_file("spos", 1))["scores"]
    assert found == {"spos": {1: pytest.approx(scipy.stats.kendalltau(truth, scores).statistic)}}


def test_without_children_there_is_none(tmp_path, corpus):
    study, _ = made_up(tmp_path, corpus)
    for child in range(8):
        for seed in (0, 1, 2):
            study.child_file(child, seed).unlink(missing_ok=True)
    assert measured_taus(study, STUDIES) == {}


def test_scores_that_rank_nothing_are_named(tmp_path, corpus):
    study, _ = made_up(tmp_path, corpus)
    path = study.supernet_file("spos", 1)
    write_json(path, {**read_json(path), "scores": [1.0] * PLAN["children"]["n"]})
    with pytest.raises(ValueError, match="supernet 'spos', seed 1: scores is the same for all"):
        measured_taus(study, STUDIES)


def test_correlations_are_over_all_and_within_methods():
    text = markdown(STUDIES, SETTINGS, TAUS)
    assert "| spos | 3 | 0.200 | 0.500 |" in text
    cosine = np.array([0.1, 0.2, 0.3, 0.7, 0.8, 0.4])
    tau = np.array([0.6, 0.5, 0.4, 0.1, 0.2, 0.3])
    rho = scipy.stats.spearmanr(cosine, tau).statistic
    assert f"Spearman's rho of cosine and tau over all supernets, 6: {rho:.2f}." in text
    within = scipy.stats.spearmanr([-0.1, 0, 0.1, -0.05, 0.05], [0.1, 0, -0.1, -0.05, 0.05])
    assert f"over supernets less the means of their methods, 5: {within.statistic:.2f}." in text
    assert within.statistic != pytest.approx(rho)
    assert "the means of methods alone" not in text  # of three


def test_means_of_methods_are_correlated_too():
    studies = {**STUDIES, "magic_at": {0: measured(0.9)}}
    text = markdown(studies, SETTINGS, {**TAUS, "magic_at": {0: 0.7}})
    rho = scipy.stats.spearmanr([0.2, 0.75, 0.4, 0.9], [0.5, 0.15, 0.3, 0.7]).statistic
    assert f"over the means of methods alone, 4: {rho:.2f}." in text


def test_picture_is_drawn(tmp_path):
    draw(STUDIES, SETTINGS, TAUS, tmp_path / "found")
    assert {path.name for path in tmp_path.iterdir()} == {"found_tau.png", "found_tau.svg"}
