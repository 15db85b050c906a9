"""The benchmark of watching interference, at its smallest."""

import json

import pytest

from experiments.benchmarks import during_training


@pytest.fixture
def arguments(tmp_path):
    return [
        "--workloads", "cnn", "--methods", "spos", "--repetitions", "1", "--steps", "4",
        "--interval", "2", "--warmup", "1", "--turn", "2", "--batch-size", "4", "--threads", "1",
        "--device", "cpu", "--hardware", "here", "--output", str(tmp_path),
    ]  # fmt: skip


def test_both_sides_are_timed_and_reported(arguments, tmp_path):
    results = during_training.main(arguments)
    entry = results["measurements"]["cnn"]["methods"]["spos"]
    assert entry["ratio"] == [pytest.approx(entry["watched"][0] / entry["plain"][0])]
    assert entry["watched"][0] > 0 and entry["summary"]["ratio"]["n"] == 1
    [path] = tmp_path.glob("during_training_here_*.json")
    assert json.loads(path.read_text())["measurements"] == results["measurements"]
    assert "spos" in path.with_suffix(".md").read_text()


@pytest.mark.parametrize(
    ("setting", "message"),
    [(["--turn", "0"], "turn is 0; accepted are whole numbers of at least 1"),
     (["--interval", "0"], "interval is 0; accepted are whole numbers of at least 1"),
     (["--steps", "5"], "steps is 5; accepted are multiples of interval, 2")],
)  # fmt: skip
def test_settings_out_of_range(arguments, setting, message):
    with pytest.raises(ValueError, match=message):
        during_training.main([*arguments, *setting])
