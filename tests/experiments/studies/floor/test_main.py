"""The command line of the floor."""

import pytest

from experiments.studies.floor import __main__ as floor


def test_one_seed_has_no_interval(capsys, tmp_path):
    with pytest.raises(SystemExit):
        floor.main(["--runs", str(tmp_path), "--seeds", "1"])
    assert "seeds is 1; accepted are at least 2" in capsys.readouterr().err


def test_report_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(floor, "train_missing", lambda runs, variants, seeds: None)
    monkeypatch.setattr(floor, "compared", lambda runs, names, seeds: [])
    floor.main(["--runs", str(tmp_path), "--output", str(tmp_path), "--hardware", "here"])
    [report] = tmp_path.glob("floor_here_*.md")
    assert "| space | strategy | metric |" in report.read_text()
