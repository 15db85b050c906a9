"""Summaries, verdicts, and the report's files."""

import argparse
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from experiments.benchmarks import reporting
from experiments.benchmarks.reporting import (
    add_report_options,
    alternate,
    environment,
    ratios,
    summarise,
    table,
    text,
    verdict,
    write_report,
)


@pytest.fixture
def settings(tmp_path):
    parser = argparse.ArgumentParser()
    add_report_options(parser)
    return parser.parse_args(["--output", str(tmp_path / "results"), "--seed", "7"])


@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_summary_agrees_with_numpy(n):
    values = np.random.default_rng(n).exponential(size=n)
    assert summarise(values.tolist()) == {
        "n": n,
        "min": np.min(values),
        "median": np.median(values),
        "max": np.max(values),
    }


def test_summary_of_nothing_is_an_error():
    with pytest.raises(ValueError, match="values is empty"):
        summarise([])


def test_ratios_are_of_pairs_and_not_of_means():
    assert ratios([1.0, 9.0], [2.0, 3.0]) == [0.5, 3.0]
    with pytest.raises(ValueError):
        ratios([1.0], [1.0, 2.0])


def test_alternate_swaps_the_order_and_not_the_results():
    calls = []

    def call(name):
        calls.append(name)
        return name

    for turn in range(3):
        assert alternate(lambda: call("a"), lambda: call("b"), turn) == ("a", "b")
    assert "".join(calls) == "abbaab"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.8, 0.9, 1.0], "met in every pair"),
        ([0.8, 0.9, 1.1], "met by the median, not by every pair"),
        ([0.8, 1.1, 1.2], "missed by the median, met in some pairs"),
        ([1.1, 1.2, 1.3], "missed in every pair"),
    ],
)
def test_verdict_tells_the_median_from_the_spread(values, expected):
    assert verdict(summarise(values), at_most=1.0) == expected


def test_text_has_significant_digits_without_exponents():
    assert text(summarise([0.012345, 123456.0, 1.0])) == "1 (0.0123 to 123,000)"


def test_table_has_a_line_a_row():
    assert table(["a", "b"], [[1, "x"], [2, "y"]]).splitlines()[2:] == ["| 1 | x |", "| 2 | y |"]


def test_environment_names_versions_and_hardware():
    found = environment()
    assert found["versions"]["torch"] == torch.__version__
    assert {"python", "nni", "pytorch-lightning", "numpy"} <= found["versions"].keys()
    assert found["threads"] == torch.get_num_threads()
    assert found["processor"] and found["cores"] >= 1
    assert re.fullmatch(r"[0-9a-f]{40}|unknown", found["commit"])


def test_commit_is_unknown_outside_a_checkout(monkeypatch, tmp_path):
    monkeypatch.setattr(reporting, "__file__", str(tmp_path / "reporting.py"))
    found = environment()
    assert (found["commit"], found["modified"]) == ("unknown", None)


def test_report_is_written_as_json_and_markdown(settings):
    arguments = ["--seed", "7"]
    paths = write_report("steps", settings, arguments, {"raw": [1.5]}, "| a |")
    record = json.loads(paths[0].read_text())
    assert record["raw"] == [1.5]
    assert record["command"] == "python -m experiments.benchmarks.steps --seed 7"
    assert record["config"]["threads"] == settings.threads
    assert "output" not in record["config"]
    assert record.keys() >= {
        "theme", "hardware", "date", "seed", "versions", "commit", "processor", "threads",
    }  # fmt: skip
    page = paths[1].read_text()
    assert "| a |" in page and record["commit"] in page and "Seed 7" in page
    assert "Spreads are median" in page


def test_study_names_its_program_and_its_own_spreads(settings):
    settings.runs = [Path("one"), Path("two")]
    paths = write_report("steps", settings, ["--plan", "a"], {}, "", program="experiments.rank")
    record = json.loads(paths[0].read_text())
    assert record["command"] == "python -m experiments.rank --plan a"
    assert record["config"]["runs"] == ["one", "two"]
    assert "Spreads" not in paths[1].read_text()


def test_file_names_hold_theme_hardware_and_date(settings):
    settings.hardware = "abacus"
    names = [path.name for path in write_report("steps", settings, [], {}, "")]
    assert re.fullmatch(r"steps_abacus_\d{8}\.json", names[0])
    assert re.fullmatch(r"steps_abacus_\d{8}\.md", names[1])
    settings.hardware = None
    cores = reporting.usable_cores()
    assert write_report("steps", settings, [], {}, "")[0].name.startswith(f"steps_cpu{cores}_")


@pytest.mark.parametrize(("trained_on", "hardware"), [
    (["NVIDIA H200"], "nvidia-h200"),
    (["NVIDIA H200", "cpu"], "nvidia-h200"),
    (["Tesla T4", "NVIDIA H200"], "tesla-t4-nvidia-h200"),
    (["cpu"], f"cpu{reporting.usable_cores()}"),
])  # fmt: skip
def test_report_of_trainings_is_named_after_what_trained(settings, trained_on, hardware):
    settings.hardware = None
    path, page = write_report("rank", settings, [], {"trained_on": trained_on}, "")
    assert re.fullmatch(rf"rank_{hardware}_\d{{8}}\.json", path.name)
    assert json.loads(path.read_text())["trained_on"] == trained_on
    assert f"Trained on: {', '.join(trained_on)}. " in page.read_text()


def test_name_of_a_gpu_fits_file_names(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA A100-SXM4 (80GB)")
    assert reporting.gpu_slug() == "nvidia-a100-sxm4-80gb"
