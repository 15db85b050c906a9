"""The benchmark of sampling, at its smallest."""

import json

import pytest

from experiments.benchmarks import sampling


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="module")
def results(folder):
    arguments = ["--layers", "3", "--repetitions", "2", "--draws", "3", "--nni-draws", "2"]
    return sampling.main([*arguments, "--output", str(folder), "--hardware", "here"])


def test_every_comparison_has_raw_times_and_ratios(results):
    assert set(results["measurements"]) == {
        f"{what}, {sampler}"
        for what in ("whole sample", "draw alone")
        for sampler in ("uniform", "gradual")
    }
    for entry in results["measurements"].values():
        pairs = zip(entry["ours"], entry["nni"], entry["ratio"], strict=True)
        assert all(ratio == pytest.approx(ours / nni) for ours, nni, ratio in pairs)
        assert entry["summary"]["ratio"]["n"] == 2
        assert min(entry["ours"]) > 0 and entry["unit"] == "us"


def test_parts_and_target_are_reported(results):
    assert all(len(part["values"]) == 2 for part in results["parts"].values())
    [target] = results["targets"]
    assert (target["measurement"], target["ratio_at_most"]) == ("whole sample, gradual", 0.01)


def test_report_is_written(results, folder):
    [path] = folder.glob("sampling_here_*.json")
    record = json.loads(path.read_text())
    assert record["measurements"] == results["measurements"]
    assert record["config"]["layers"] == 3
    assert "at most 1/100 of NNI's" in path.with_suffix(".md").read_text()


def test_both_sides_draw_children_of_the_same_supernet():
    theirs, ours = sampling.make_modules(sampling.make_supernet(3), seed=0)
    for module in (theirs, *ours.values()):
        child = module.resample()
        assert theirs.model.contains(child)
        blocks = [layer.operator for layer in theirs.model.layers]
        assert [block._sampled for block in blocks] == [child[block.label] for block in blocks]
