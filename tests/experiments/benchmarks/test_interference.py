"""The benchmark of shared gradients, at its smallest."""

import json

import pytest

from experiments.benchmarks import interference
from experiments.benchmarks.pairs import ratios


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="module")
def results(folder):
    return interference.main(
        [
            "--layers", "3", "--hidden", "48", "--shared-layers", "1", "2", "--batch-size", "2",
            "--length", "8", "--repetitions", "2", "--threads", "1", "--hardware", "here",
            "--output", str(folder),
        ]
    )  # fmt: skip


def test_both_sides_find_the_same_cosines(results):
    for result in results["shared_layers"].values():
        assert result["largest_difference_of_cosines"] < 1e-5
        assert result["children"] == 6


def test_sides_do_not_agree_by_accident():
    arguments = ["--layers", "3", "--hidden", "48", "--batch-size", "2", "--length", "8"]
    settings = interference.parse_args([*arguments, "--shared-layers", "1"])
    setting = interference.Setting(settings)
    base = dict.fromkeys(("layer_1", "layer_2", "layer_3"), "ffn48")
    children = [base, {**base, "layer_3": "sepconv3"}]
    assert abs(setting.naive(1, children)[0, 1]) < 0.999
    assert all(parameter.grad is None for parameter in setting.supernet.parameters())


def test_every_comparison_has_raw_times_and_ratios(results):
    assert list(results["shared_layers"]) == ["1", "2"]
    for result in results["shared_layers"].values():
        seconds = result["seconds_a_child"]
        assert result["naive_to_ours"] == ratios(seconds["naive"], seconds["ours"])
        assert len(result["naive_to_ours"]) == 2
    # 3 layers of 6 children, 3 units each; 2 shared layers, 1 layer and the gradient twice.
    assert results["shared_layers"]["2"]["limit"] == pytest.approx(54 / (2 + 12 + 12))


def test_report_is_written(results, folder):
    [path] = folder.glob("interference_here_*.json")
    assert json.loads(path.read_text())["shared_layers"] == results["shared_layers"]
    assert "| shared layer | ours, ms/child |" in path.with_suffix(".md").read_text()


@pytest.mark.parametrize(("arguments", "message"), [
    (["--shared-layers", "12"], "shared_layers is 12; accepted are numbers from 1 to 11"),
    (["--hidden", "100"], "hidden is 100; accepted are multiples of 48"),
])  # fmt: skip
def test_settings_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        interference.parse_args(arguments)
