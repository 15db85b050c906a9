"""The program of a study of rank correlation: who trains, and who reports."""

import pytest
from studies import plan_of

from experiments.studies.claims import claimed
from experiments.studies.ranking import __main__ as program
from experiments.studies.study import Study
from nni_magic.support.files import read_json

CHANGES = {
    "children": {"n": 3, "steps": 1},
    "supernets": {"spos": {"strategy": "spos", "steps": 2, "seeds": [0]}},
}


@pytest.fixture
def words(tmp_path, corpus):
    plan_of(tmp_path, corpus, **CHANGES)
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
    program.main(words)  # what is trained is not trained again


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
