"""The benchmark of child evaluation, at its smallest."""

import json

import pytest

from experiments.benchmarks import child_evaluation
from experiments.benchmarks.pairs import ratios


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="module")
def results(folder):
    (folder / "corpus").mkdir()
    for number in range(8):
        text = f"document {number} says some words again and again " * 60
        (folder / "corpus" / f"{number}.txt").write_text(text)
    return child_evaluation.main(
        [
            "--layers", "3", "--random-children", "30", "--generation", "4", "--batch-size", "2",
            "--repetitions", "2", "--nni-children", "2", "--least-children", "1",
            "--threads", "1", "--hardware", "here",
            "--corpus", str(folder / "corpus"), "--cache", str(folder / "cache"),
            "--output", str(folder),
        ]
    )  # fmt: skip


def test_all_sides_score_alike(results):
    for result in (*results["populations"].values(), *results["nni"].values()):
        assert result["largest_relative_difference"] < 1e-5


def test_sharing_is_counted(results):
    neighbours = results["populations"]["neighbours, 3 layers"]
    # 9 neighbours in 3 layers of 4: one stem; 3 + 1 nodes of the first layer, 3 + 3 + 1 of the
    # second, 9 of the third; 9 heads.
    assert neighbours["children"] == 9
    assert neighbours["needed_calls"] == neighbours["calls"] == 1 + 4 + 7 + 9 + 9
    assert neighbours["limit"] == pytest.approx(9 * 5 / 30)


def test_every_comparison_has_raw_times_and_ratios(results):
    for result in results["populations"].values():
        seconds = result["seconds_a_child"]
        assert result["loop_to_ours"] == ratios(seconds["loop"], seconds["ours"])
        assert len(result["loop_to_ours"]) == 2
    for result in results["nni"].values():
        seconds = result["seconds_a_child"]
        assert result["nni_to_ours"] == ratios(seconds["nni"], seconds["ours"])
    assert len(results["targets"]) == 4  # two of the CNN and two of the demo supernet


def test_report_is_written(results, folder):
    [path] = folder.glob("child_evaluation_here_*.json")
    assert json.loads(path.read_text())["populations"] == results["populations"]
    page = path.with_suffix(".md").read_text()
    assert "| neighbours, 3 layers | 9 |" in page
    assert "fixed cost of a child at most 3 ms" in page
