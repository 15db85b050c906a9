"""What a study of rank correlation reports, on results that were made up."""

import argparse
import json

import pytest
import scipy.stats
from studies import made_up

from experiments import rank_correlation, rank_report
from nni_magic.files import read_json, write_json


@pytest.fixture(scope="module")
def study(tmp_path_factory, corpus):
    return made_up(tmp_path_factory.mktemp("study"), corpus)


@pytest.fixture(scope="module")
def found(study):
    return rank_report.statistics(rank_report.gather(study[0]))


def test_gather_takes_what_there_is(tmp_path, corpus):
    study, truth = made_up(tmp_path, corpus)
    study.child_file(5, 0).unlink()
    study.child_file(2, 1).unlink()
    study.supernet_file("magic_t", 1).unlink()
    record = rank_report.gather(study)
    assert [child["number"] for child in record["children"]] == [0, 1, 2, 3, 4, 5, 6, 7]
    assert record["children"][2]["val_loss"].keys() == {"0", "2"}
    assert record["children"][0]["val_loss"]["0"] == pytest.approx(truth[0])
    assert {name: list(found) for name, found in record["supernets"].items()} == {
        "spos": ["0", "1"], "magic_t": ["0"],
    }  # fmt: skip
    json.dumps(record)


def test_tau_is_that_of_scipy(study, found):
    study, truth = study
    for name in ("spos", "magic_t"):
        for seed in (0, 1):
            scores = read_json(study.supernet_file(name, seed))["scores"]
            for half, part in (("all", slice(None)), ("first half", slice(0, None, 2)),
                               ("second half", slice(1, None, 2))):  # fmt: skip
                expected = scipy.stats.kendalltau(truth[part], scores[part]).statistic
                tau = found["supernets"][name][half]["seeds"][str(seed)]["kendall_tau"]
                assert tau == pytest.approx(expected)
    assert found["supernets"]["magic_t"]["all"]["kendall_tau"]["mean"] == pytest.approx(1)


def test_children_that_are_not_trained_are_left_out_of_the_scores(tmp_path, corpus):
    study, _ = made_up(tmp_path, corpus)
    for seed in (0, 1, 2):
        study.child_file(2, seed).unlink()
    found = rank_report.statistics(rank_report.gather(study))
    one = found["supernets"]["magic_t"]["all"]["seeds"]["0"]
    assert one["n"] == 7
    assert one["kendall_tau"] == pytest.approx(1)
    assert found["ceiling"] is None  # two repeated children are left


def test_trivial_rankings_stand_beside(study, found):
    study, truth = study
    n_ffn = [sum(c == "ffn" for c in child.values()) for child in study.children]
    by_params = scipy.stats.kendalltau(truth, [-n for n in n_ffn]).statistic
    trivial = found["trivial"]["all"]
    assert trivial["most params"]["kendall_tau"] == pytest.approx(by_params)
    assert trivial["most flops"]["kendall_tau"] == pytest.approx(-by_params)
    assert trivial["random"]["kendall_tau"] == 0


def test_methods_are_compared_with_spos_seed_by_seed(found):
    one = found["comparisons"]["magic_t"]["all"]
    assert "spos" not in found["comparisons"]
    assert one["difference"]["n"] == 2
    spos = found["supernets"]["spos"]["all"]["kendall_tau"]["mean"]
    assert one["difference"]["mean"] == pytest.approx(1 - spos)


def test_ceiling_is_from_the_repeated_children(found):
    assert found["ceiling"]["n"] == 3
    assert found["ceiling"]["seeds"] == 3
    assert found["ceiling"]["tau_ceiling"] > 0.95  # the noise made up is small


def test_report_is_written_with_its_pictures(study, tmp_path):
    study, _ = study
    plan = study.output.parent / "plan.yml"
    rank_correlation.main([
        "--plan", str(plan), "--runs", str(study.output), "--output", str(tmp_path),
        "--hardware", "cpu", "--report", "--threads", "1",
    ])  # fmt: skip
    names = sorted(path.name[: -len("_yyyymmdd")] if not path.suffix else path.name
                   for path in tmp_path.iterdir())  # fmt: skip
    assert len(names) == 6
    [page] = tmp_path.glob("rank_correlation_plan_cpu_*.md")
    text = page.read_text()
    assert "8 children trained from scratch, 2 steps each" in text
    assert "| magic_t | 2 | 1.000 | 1.000 to 1.000 |" in text
    assert "perfect scores would reach" in text
    assert "python -m experiments.rank_correlation --plan" in text
    [record] = tmp_path.glob("*.json")
    assert json.loads(record.read_text())["statistics"]["ceiling"]["n"] == 3
    assert len(list(tmp_path.glob("*.png"))) == len(list(tmp_path.glob("*.svg"))) == 2


def test_scores_without_calibration_are_ranked_too(tmp_path, corpus):
    study, truth = made_up(tmp_path, corpus)
    path = study.supernet_file("magic_t", 0)
    write_json(path, {**read_json(path), "uncalibrated": (-truth).tolist()})
    found = rank_report.statistics(rank_report.gather(study))["supernets"]
    assert found.keys() == {"spos", "magic_t", "magic_t, uncalibrated"}
    ranking = found["magic_t, uncalibrated"]["all"]["seeds"]["0"]
    assert ranking["kendall_tau"] == pytest.approx(-1)


def test_too_few_children_raise(tmp_path, corpus):
    study, _ = made_up(tmp_path, corpus)
    for number in range(1, 8):
        for seed in (0, 1, 2):
            study.child_file(number, seed).unlink(missing_ok=True)
    settings = argparse.Namespace(plan=tmp_path / "plan.yml", output=tmp_path)
    with pytest.raises(ValueError, match="has 1 children; a ranking needs at least 3"):
        rank_report.write(study, settings, [])
