"""The command line and the files of a report."""

import json
import re
from pathlib import Path

import pytest
import torch

from experiments.benchmarks import reporting
from experiments.benchmarks.reporting import (
    environment,
    report_parser,
    run_benchmark,
    table,
    write_report,
)


@pytest.fixture
def settings(tmp_path):
    words = ["--output", str(tmp_path / "results"), "--seed", "7"]
    return report_parser("What it does.").parse_args(words)


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


def test_results_that_json_does_not_know_are_named(settings):
    with pytest.raises(
        TypeError, match=r"a result is \{1\}; accepted is what JSON knows, and paths"
    ):
        write_report("steps", settings, [], {"raw": {1}}, "")


def test_benchmark_is_measured_and_reported_with_its_picture(settings, capsys):
    settings.threads = torch.get_num_threads()

    def measure(given):
        assert given is settings
        return {"raw": [2.5]}

    drawn = []
    found = run_benchmark(
        "steps", settings, [], measure, lambda _, results: f"It is {results['raw'][0]}.",
        lambda results, path: drawn.append((results, path)),
    )  # fmt: skip
    assert found == {"raw": [2.5]}
    said = capsys.readouterr().out
    assert said.startswith("It is 2.5.\n")
    [record] = settings.output.glob("steps_*.json")
    assert json.loads(record.read_text())["raw"] == [2.5]
    assert drawn == [(found, record.with_suffix(".png"))]
    wrote = [f"Wrote {record.with_suffix(end)}" for end in (".json", ".md", ".png")]
    assert said.splitlines()[-3:] == wrote


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
