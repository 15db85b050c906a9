"""The benchmark of what a strategy costs beside the training itself, at its smallest."""

import json

import pytest

from experiments.benchmarks import framework

SMALL = ["--steps", "4", "--warmup", "1", "--turn", "2", "--batch-size", "4", "--device", "cpu"]


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    arguments = [
        *SMALL, "--workloads", "chain_8x4", "--repetitions", "2", "--threads", "1",
        "--hardware", "here", "--output", str(folder),
    ]  # fmt: skip
    return framework.main(arguments), folder


def test_all_sides_train_to_the_same_losses(measured):
    [workload] = measured[0]["measurements"].values()
    losses = workload["last_loss"]
    assert list(losses) == list(framework.SIDES)
    for side in losses:
        assert losses[side] == pytest.approx(losses["loop"], rel=1e-5)
    assert losses["loop"][0] != losses["loop"][1]  # a seed of its own every time


def test_ratios_are_to_the_plain_loop(measured):
    [workload] = measured[0]["measurements"].values()
    step, ratio = workload["step"], workload["ratio"]
    assert ratio["loop"] == [1.0, 1.0]
    for side in framework.SIDES:
        expected = [a / b for a, b in zip(step[side], step["loop"], strict=True)]
        assert ratio[side] == pytest.approx(expected)
        assert workload["summary"][side]["step"]["n"] == 2


def test_report_is_written(measured):
    results, folder = measured
    [path] = folder.glob("framework_here_*.json")
    assert json.loads(path.read_text())["measurements"] == results["measurements"]
    page = path.with_suffix(".md").read_text()
    assert "Chain of 8 × 4 tiny layers, batch 4" in page and "| Lightning alone |" in page


def test_setting_below_one_is_refused():
    with pytest.raises(ValueError, match="turn is 0; accepted are whole numbers of at least 1"):
        framework.parse_args(["--turn", "0"])
