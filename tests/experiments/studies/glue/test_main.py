"""The command line of the study on GLUE."""

import pytest

from experiments.studies.glue import __main__ as study


def words(folder, *more):
    where = [word for name in ("records", "work", "corpus", "data", "output")
             for word in (f"--{name}", str(folder))]  # fmt: skip
    return [*where, "--hardware", "here", *more]


def test_one_seed_has_no_interval(capsys, tmp_path):
    with pytest.raises(SystemExit):
        study.main(words(tmp_path, "--seeds", "1"))
    assert "seeds is 1; accepted are at least 2" in capsys.readouterr().err


def test_what_is_done_is_reported_without_a_training(tmp_path, monkeypatch):
    monkeypatch.setattr(study, "train_missing", None)
    study.main(words(tmp_path, "--gather"))
    [report] = tmp_path.glob("glue_here_*.md")
    assert "| task | child | seeds |" in report.read_text()


def test_missing_seeds_are_trained_on_a_cut_of_the_data(tmp_path, monkeypatch):
    trained = []
    monkeypatch.setattr(study, "cut_data", lambda *arguments: trained.append(arguments))
    monkeypatch.setattr(study, "train_missing", lambda *arguments: trained.append(arguments))
    study.main(words(tmp_path, "--tasks", "RTE", "--rows", "7"))
    cut, missing = trained
    assert cut == (tmp_path, tmp_path / "data_7", ["RTE"], 7)
    assert missing[2:] == (tmp_path / "data_7", ["RTE"], range(5), tmp_path, None)
