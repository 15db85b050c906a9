"""What a study of rank correlation reports, on results that were made up."""

import argparse
import json

import numpy as np
import pytest
from studies import PLAN, made_up, plan_of

from experiments.studies.ranking import __main__ as rank_correlation
from experiments.studies.ranking.report import write
from nni_magic.analysis import plots
from nni_magic.support.files import read_json, write_json

METHODS = ("spos", "magic_t", "magic_a", "magic_at")


@pytest.fixture(scope="module")
def study(tmp_path_factory, corpus):
    supernets = {name: {"strategy": name, "steps": 8, "seeds": [0, 1]} for name in METHODS}
    supernets["magic_t"]["values"] = {"k": 1}
    for k in (2, 4):
        options = {"options": {"k": k}, "values": {"k": k}}
        supernets[f"k{k}"] = {"strategy": "magic_t", "steps": 8, "seeds": [0, 1], **options}
    return made_up(tmp_path_factory.mktemp("study"), corpus, supernets=supernets)


def report(study, folder):
    plan = study.output.parent / "plan.yml"
    rank_correlation.main([
        "--plan", str(plan), "--runs", str(study.output), "--output", str(folder),
        "--cache", str(study.domain.settings.cache), "--hardware", "cpu", "--report",
        "--threads", "1",
    ])  # fmt: skip
    [page] = folder.glob("rank_correlation_plan_cpu_*.md")
    return page


def test_report_is_written_with_its_pictures(study, tmp_path):
    study, _ = study
    page = report(study, tmp_path)
    text = page.read_text()
    assert "8 of 8 children; the ground truth is the validation loss, trained from scr" in text
    assert " for 2 steps (mean of 1 training(s)). tau is" in text
    assert text.count("4 of 8 children") == 3
    assert "| magic_t | 2 | 1.000 | 1.000 to 1.000 | 1.000 to 1.000 |" in text
    assert "| random: range of chance |  | 0.000 | -0.5" in text
    assert "perfect scores would reach" in text
    assert "python -m experiments.studies.ranking --plan" in text
    record = json.loads(page.with_suffix(".json").read_text())
    assert record["statistics"]["ceiling"]["n"] == 3
    names = {path.name.removeprefix(page.stem) for path in tmp_path.iterdir()}
    pictures = {f"{name}{end}" for name in ("", "_scores", "_k") for end in (".png", ".svg")}
    assert names == {".md", ".json", *pictures}


def test_report_names_what_trained(tmp_path, corpus):
    study, _ = made_up(tmp_path, corpus)
    for path, device in ((study.child_file(0, 0), "Tesla T4"),
                         (study.supernet_file("spos", 0), "NVIDIA H200")):  # fmt: skip
        write_json(path, {**read_json(path), "device": device})
    page = report(study, tmp_path / "out")
    assert "Trained on: NVIDIA H200, Tesla T4, cpu. " in page.read_text()
    record = json.loads(page.with_suffix(".json").read_text())
    assert record["trained_on"] == ["NVIDIA H200", "Tesla T4", "cpu"]


def test_pairs_and_trivial_rankings_have_their_tables(study, tmp_path):
    text = report(study[0], tmp_path).read_text()
    for pair in ("magic_t − spos", "magic_at − spos", "magic_at − magic_t", "magic_at − magic_a"):
        assert text.count(f"| {pair} | 2 | ") == 4  # all, both halves, and the best half
    assert "| p (paired t) | p (Wilcoxon) | between seeds |" in text
    assert text.count("Against the best trivial ranking, ") == 4
    assert "| candidate | ground truth | spos | magic_t | magic_a | magic_at |" in text


def test_what_wins_on_the_first_half_is_compared_on_the_second(tmp_path, corpus):
    supernets = {name: {"strategy": name, "steps": 4, "seeds": [0, 1, 2]} for name in METHODS[:2]}
    study, _ = made_up(tmp_path, corpus, supernets=supernets)
    page = report(study, tmp_path / "out")
    halves = json.loads(page.with_suffix(".json").read_text())["statistics"]["halves"]
    before, after = (
        halves[half]["supernets"]["spos"]["kendall_tau"]["mean"]
        for half in ("first half", "second half")
    )
    text = page.read_text()
    assert f"spos has the highest tau of 1 settings of spos, {before:.3f}, and magic_t" in text
    assert f"tau between these two is {1 - after:+.3f} (95 % " in text


def test_settings_have_tables_and_pictures_of_their_own(study, tmp_path, monkeypatch):
    drawn = {}
    monkeypatch.setattr(plots, "tau_by_setting", lambda taus, path, setting: drawn.update(taus))
    by_method = []
    monkeypatch.setattr(plots, "tau_by_method", lambda taus, *args, **kw: by_method.extend(taus))
    text = report(study[0], tmp_path).read_text()
    lines = text.splitlines()
    start = lines.index("By k, over the seeds that all values have:")
    assert [[cell.strip() for cell in line.split("|")[1:8]] for line in
            lines[start + 4 : start + 7]] == [
        ["1", "magic_t", "2", "1.000", "1.000 to 1.000", "", ""],
        ["2", "k2", "2", "1.000", "1.000 to 1.000", "magic_t", "2"],
        ["4", "k4", "2", "1.000", "1.000 to 1.000", "magic_t", "2"],
    ]  # fmt: skip
    assert list(drawn) == ["magic_t"]
    assert {k: len(taus) for k, taus in drawn["magic_t"].items()} == {1: 2, 2: 2, 4: 2}
    assert sorted(by_method) == sorted(METHODS)


def test_variants_have_a_picture_beside_the_baseline(tmp_path, corpus, monkeypatch):
    some = {"strategy": "magic_t", "steps": 4, "seeds": [0, 1]}
    supernets = {**PLAN["supernets"], "magic_t_long": some, "k2": {**some, "values": {"k": 2}}}
    study, _ = made_up(tmp_path, corpus, supernets=supernets)
    drawn = {}
    monkeypatch.setattr(
        plots, "tau_by_method", lambda taus, stem, **kw: drawn.update({stem.name: list(taus)})
    )
    stem = report(study, tmp_path / "out").stem
    assert drawn == {
        stem: ["magic_t", "spos"], f"{stem}_variants": ["spos", "magic_t\nlong"]
    }  # fmt: skip


def test_setting_of_one_value_has_no_table(tmp_path, corpus):
    magic_t = {**PLAN["supernets"]["magic_t"], "values": {"k": 1}}
    study, _ = made_up(tmp_path, corpus, supernets={**PLAN["supernets"], "magic_t": magic_t})
    assert "By k" not in report(study, tmp_path / "out").read_text()


def test_method_of_one_seed_is_in_the_table_and_in_no_picture(tmp_path, corpus, monkeypatch):
    study, _ = made_up(tmp_path, corpus)
    study.supernet_file("magic_t", 1).unlink()
    drawn = {}
    monkeypatch.setattr(plots, "tau_by_method", lambda taus, *args, **kw: drawn.update(taus))
    assert "| magic_t | 1 | 1.000 |  |  |  |" in report(study, tmp_path / "out").read_text()
    assert drawn.keys() == {"spos"}


def test_study_that_has_just_begun_is_reported(tmp_path, corpus):
    study, _ = made_up(tmp_path, corpus)
    for number in (1, 5, 6, 7):
        for seed in (0, 1, 2):
            study.child_file(number, seed).unlink(missing_ok=True)
    for path in study.output.glob("supernets/*"):
        path.unlink()
    page = report(study, tmp_path / "out")
    text = page.read_text()
    assert "4 of 8 children" in text  # 0, 2, 3, 4
    assert "## first half" in text
    assert "## second half" not in text
    assert not page.with_suffix(".png").exists()


def test_supernet_with_scores_of_fewer_children_is_left_out(tmp_path, corpus):
    study, _ = made_up(tmp_path, corpus)
    path = study.supernet_file("magic_t", 0)
    found = read_json(path)
    write_json(path, {**found, "scores": found["scores"][:5]})
    assert "| magic_t | 1 | 1.000 |" in report(study, tmp_path / "out").read_text()


def test_results_of_another_plan_are_not_reported(tmp_path, corpus):
    study, _ = made_up(tmp_path, corpus)
    plan_of(tmp_path, corpus, space={**PLAN["space"], "hidden": 16})
    with pytest.raises(ValueError, match=r"_seed0.json' .* space.hidden is 8 there"):
        report(study, tmp_path / "out")


def test_too_few_children_raise(tmp_path, corpus):
    study, _ = made_up(tmp_path, corpus)
    for number in range(1, 8):
        for seed in (0, 1, 2):
            study.child_file(number, seed).unlink(missing_ok=True)
    settings = argparse.Namespace(plan=tmp_path / "plan.yml", output=tmp_path)
    with pytest.raises(ValueError, match="has 1 children; accepted are at least 3"):
        write(study, settings, [], {})


@pytest.mark.parametrize(("scores", "message"), [
    ([1, 2, np.nan, 4, 5, 6, 7, 8], r"supernet 'spos', seed 1: scores\[2\] is nan"),
    ([1] * 8, r"supernet 'spos', seed 1: scores is the same for all children"),
])  # fmt: skip
def test_scores_that_rank_nothing_are_named(tmp_path, corpus, scores, message):
    study, _ = made_up(tmp_path, corpus)
    path = study.supernet_file("spos", 1)
    write_json(path, {**read_json(path), "scores": scores})
    with pytest.raises(ValueError, match=message):
        report(study, tmp_path / "out")
