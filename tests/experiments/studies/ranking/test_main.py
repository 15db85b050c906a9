"""The program of a study of rank correlation: who trains, and who reports."""

import pytest
from studies import plan_of

from experiments.studies.claims import claimed
from experiments.studies.ranking import __main__ as program
from experiments.studies.ranking.zero_costs import ZeroCosts
from experiments.studies.study import Study
from nni_magic.support.files import read_json

CHANGES = {
    "children": {"n": 3, "steps": 1},
    "supernets": {"spos": {"strategy": "spos", "steps": 2, "seeds": [0]}},
}


@pytest.fixture
def words(tmp_path, corpus):
    plan_of(tmp_path, corpus, **CHANGES)
    return words_of(tmp_path, corpus)


def words_of(tmp_path, corpus):
    return [
        "--plan", str(tmp_path / "plan.yml"), "--runs", str(tmp_path / "runs"),
        "--cache", str(corpus / "cache"), "--output", str(tmp_path / "out"),
        "--hardware", "here", "--threads", "1",
    ]  # fmt: skip


def test_everything_is_trained_and_reported(words, tmp_path, capsys, monkeypatch):
    program.main(words)
    [record] = (tmp_path / "out").glob("rank_correlation_plan_here_*.json")
    assert capsys.readouterr().out.strip() == str(record)
    assert len(read_json(record)["children"]) == 3
    monkeypatch.setattr(Study, "train_child", None)
    monkeypatch.setattr(Study, "train_supernet", None)
    monkeypatch.setattr(ZeroCosts, "_score", None)
    program.main(words)  # what is trained is not trained again


def test_methods_are_compared_and_searched_and_what_is_found_is_trained(tmp_path, corpus):
    plan_of(tmp_path, corpus, **CHANGES, comparison={"pairs": 2, "rows": 4},
            search={"generations": 1, "population": 2})  # fmt: skip
    program.main(words_of(tmp_path, corpus))
    runs = {path.name: len(list(path.glob("*.json"))) for path in (tmp_path / "runs").iterdir()}
    n_trained = runs.pop("found", 0)
    assert runs == {"children": 3, "zero_cost": 1, "supernets": 1, "times": 1, "memory": 1,
                    "cosines": 1, "searched": 2}  # fmt: skip
    [path] = (tmp_path / "out").glob("*.json")
    report = read_json(path)
    found = [report["searched"][name]["0"]["found"] for name in ("spos", "halving")]
    planned = [child["sample"] for child in report["children"]]
    new = [one for i, one in enumerate(found) if one not in [*planned, *found[:i]]]
    assert n_trained == len(new)
    assert report["searched"]["spos"]["0"]["truth"] > 0
    assert report["times"]["spos"]["0"]["ratio"] > 0
    assert report["memory"]["spos"]["0"]["peak_memory"] > 0
    assert len(report["cosines"]["spos"]["0"]["cosines"]) == 2
    assert "## All methods" in path.with_suffix(".md").read_text()
    assert path.with_name(f"{path.stem}_methods.png").exists()


def test_methods_are_reported_before_a_supernet_is_trained(tmp_path, corpus):
    study = Study(plan_of(tmp_path, corpus, **CHANGES, comparison={}), tmp_path / "runs",
                  corpus / "cache")  # fmt: skip
    study.work(study.missing_children)
    program.main([*words_of(tmp_path, corpus), "--report"])
    [path] = (tmp_path / "out").glob("*.md")
    assert "## All methods" not in path.read_text()
    assert not list((tmp_path / "out").glob("*_methods.png"))


def test_the_last_process_reports_on_the_work_of_all(words, tmp_path, capsys):
    with claimed(tmp_path / "runs" / "children" / "001_seed0.json"):
        program.main(words)
    assert capsys.readouterr().out == ""
    assert not (tmp_path / "out").exists()
    program.main(words)
    assert list((tmp_path / "out").glob("*.json"))


def test_report_alone_trains_nothing(words, tmp_path):
    with pytest.raises(ValueError, match="truth has 0 children; accepted are at least 3"):
        program.main([*words, "--report"])
    assert not (tmp_path / "runs").exists()
