"""What is drawn of a study of rank correlation."""

import numpy as np
import pytest
import scipy.stats
from studies import PLAN, made_up

from experiments.studies.gathered import gather
from experiments.studies.ranking import pictures
from experiments.studies.ranking.statistics import Setting, SettingValue, statistics
from nni_magic.analysis import plots
from nni_magic.support.files import read_json

ONE, TWO = SettingValue(1, "magic_t"), SettingValue(2, "k2")


@pytest.fixture
def drawn(monkeypatch):
    """What is given to the plots, by their names."""
    calls = {}
    for name in ("tau_by_method", "score_against_truth", "tau_by_setting"):
        monkeypatch.setattr(
            plots,
            name,
            lambda *args, name=name, **kw: calls.setdefault(name, []).append((args, kw)),
        )
    return calls


def test_taus_are_drawn_between_the_best_trivial_ranking_and_the_ceiling(tmp_path, corpus, drawn):
    study, truth = made_up(tmp_path, corpus)
    record = gather(study)
    found = statistics(record)
    pictures.draw(record, found, tmp_path / "a")
    [((taus, stem), lines)] = drawn["tau_by_method"]
    assert stem == tmp_path / "a"
    for name in ("spos", "magic_t"):
        scores = [read_json(study.supernet_file(name, seed))["scores"] for seed in (0, 1)]
        expected = [scipy.stats.kendalltau(truth, one).statistic for one in scores]
        assert taus[name] == pytest.approx(expected)
    n_ffn = [sum(c == "ffn" for c in child.values()) for child in study.children]
    best = abs(scipy.stats.kendalltau(truth, n_ffn).statistic)
    assert list(lines["trivial"].values()) == [pytest.approx(best)]
    assert lines["ceiling"] == found.ceiling.tau_ceiling


def test_without_a_ceiling_no_line_is_drawn(tmp_path, corpus, drawn):
    study, _ = made_up(tmp_path, corpus, children={"n": 8, "steps": 2})
    record = gather(study)
    pictures.draw(record, statistics(record), tmp_path / "a")
    assert drawn["tau_by_method"][0][1]["ceiling"] is None


def test_scores_of_the_first_seed_are_drawn_against_the_truth(tmp_path, corpus, drawn):
    study, truth = made_up(tmp_path, corpus)
    study.child_file(3, 0).unlink()
    record = gather(study)
    pictures.draw(record, statistics(record), tmp_path / "a")
    [((known, scores, stem), labels)] = drawn["score_against_truth"]
    assert stem == tmp_path / "a_scores"
    assert known == pytest.approx(np.delete(truth, 3))
    assert scores.keys() == {"magic_t, seed 0", "spos, seed 0"}
    file = read_json(study.supernet_file("spos", 0))["scores"]
    assert scores["spos, seed 0"].tolist() == file[:3] + file[4:]
    assert labels["truth_label"] == "validation loss, trained from scratch (nats)"


def test_line_of_a_setting_has_its_values_in_order(tmp_path, corpus, drawn):
    some = {"strategy": "magic_t", "steps": 4, "seeds": [0, 1]}
    supernets = {
        "spos": PLAN["supernets"]["spos"], "k4": {**some, "values": {"k": 4}},
        "magic_t": {**some, "values": {"k": 1}},
    }  # fmt: skip
    study, _ = made_up(tmp_path, corpus, supernets=supernets)
    record = gather(study)
    pictures.draw(record, statistics(record), tmp_path / "a")
    [((lines, stem), labels)] = drawn["tau_by_setting"]
    assert stem == tmp_path / "a_k"
    assert list(lines) == ["magic_t"]
    assert list(lines["magic_t"]) == [1, 4]
    assert labels == {"setting": "k"}


@pytest.mark.parametrize(("setting", "is_drawn"), [
    (Setting(["0"], [ONE, TWO]), True),
    (Setting([], [ONE, TWO]), False),  # no seed of all
    (Setting(["0"], [ONE]), False),
])  # fmt: skip
def test_settings_of_one_value_or_without_a_common_seed_are_left_out(setting, is_drawn):
    assert pictures.several({"k": setting}) == ({"k": setting} if is_drawn else {})


def test_methods_that_are_compared_are_not_drawn_as_variants(tmp_path, corpus, drawn):
    spos = {"strategy": "spos", "steps": 4, "seeds": [0, 1]}
    names = {"spos": spos, "fairnas": {**spos, "strategy": "fairnas"}}
    for comparison, n_pictures in ((None, 2), ({"pairs": 1}, 1)):
        folder = tmp_path / str(n_pictures)
        folder.mkdir()
        study, _ = made_up(folder, corpus, supernets=names, comparison=comparison)
        record = gather(study)
        pictures.draw(record, statistics(record), folder / "a")
        assert len(drawn.pop("tau_by_method")) == n_pictures
