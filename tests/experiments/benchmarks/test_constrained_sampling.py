"""The benchmark of constrained sampling, at its smallest."""

import json

import pytest

from experiments.benchmarks import constrained_sampling
from experiments.benchmarks.pairs import ratios


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="module")
def results(folder):
    return constrained_sampling.main(
        [
            "--spaces", "tiny", "--resolution", "8", "--shares", "0.5", "--repetitions", "2",
            "--draws", "3", "--steps", "1", "--batch-size", "4", "--latency-children", "2",
            "--threads", "1", "--hardware", "here", "--output", str(folder),
        ]
    )  # fmt: skip


def test_every_sampler_has_raw_times_and_shares(results):
    [budget] = results["spaces"]["tiny"]["budgets"]
    assert set(budget["samplers"]) == {"uniform", "gradual"}
    for times in budget["samplers"].values():
        for side in ("ours", "nni"):
            assert times["share_of_a_step"][side] == ratios(times[side], times["step"])
            assert len(times[side]) == 2 and min(times[side]) > 0


def test_latency_table_is_compared_with_children(results):
    latency = results["spaces"]["tiny"]["latency"]
    assert len(latency["predicted"]) == len(latency["measured"]) == 2
    assert latency["table"]["conditions"]["batch_size"] == 1


def test_report_is_written(results, folder):
    [path] = folder.glob("constrained_sampling_here_*.json")
    assert json.loads(path.read_text())["targets"] == results["targets"]
    assert "| tiny | 50% | gradual |" in path.with_suffix(".md").read_text()


def test_share_out_of_range():
    with pytest.raises(ValueError, match=r"shares has 1.0; accepted are numbers between 0 and 1"):
        constrained_sampling.parse_args(["--shares", "1"])
