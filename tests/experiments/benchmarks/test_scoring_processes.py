"""The benchmark of scoring in processes, at its smallest."""

import json

import pytest

from experiments.benchmarks import scoring_processes
from experiments.benchmarks.pairs import ratios


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="module")
def results(folder, corpus):
    return scoring_processes.main(
        [
            "--corpus", str(corpus), "--cache", str(folder / "cache"), "--processes", "2",
            "--layers", "2", "--random-children", "9", "--generation", "4", "--batch-size", "4",
            "--repetitions", "2", "--hardware", "here", "--output", str(folder),
        ]
    )  # fmt: skip


def test_both_sides_give_the_same_scores_in_every_pair(results):
    assert results["populations"].keys() == {"random", "few", "generation", "neighbours"}
    for found in results["populations"].values():
        assert found["same_bits"]
        assert len(found["speedup"]) == 2
        assert found["speedup"] == ratios(found["seconds"]["one"], found["seconds"]["more"])


def test_report_has_the_target(folder, results):
    [report] = folder.glob("scoring_processes_here_*.md")
    assert "random: at least 1.8" in report.read_text()
    record = json.loads(report.with_suffix(".json").read_text())
    assert record["populations"] == results["populations"]
