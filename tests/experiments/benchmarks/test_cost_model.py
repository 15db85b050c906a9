"""The cost model, at its smallest size."""

import json

import pytest

from experiments.benchmarks import cost_model


@pytest.fixture(scope="module")
def found(tmp_path_factory, corpus):
    folder = tmp_path_factory.mktemp("costs")
    results = cost_model.main(
        ["--corpus", str(corpus), "--cache", str(folder / "cache"), "--sizes", "4x64",
         "--steps", "40", "--hardware", "here", "--output", str(folder)]
    )  # fmt: skip
    [record] = folder.glob("cost_model_here_*.json")
    assert json.loads(record.read_text())["sizes"] == results["sizes"]
    return results["sizes"]["4x64"]


def test_formulas_are_close_to_what_is_counted(found):
    assert found["predicted"].keys() == found["counted"].keys()
    for name, formula in found["predicted"].items():
        near = 0.25 if name == "bytes of gradients" else 0.12  # a mean over random children
        assert formula == pytest.approx(found["counted"][name], rel=near), name


def test_state_is_three_numbers_a_parameter(found):
    counted = found["counted"]
    assert counted["bytes of weights and Adam"] == pytest.approx(12 * counted["parameters"], 0.01)


@pytest.mark.parametrize(("name", "weights"), [("mha12", 4), ("ffn", 8), ("conv3", 3)])
def test_weights_of_candidates(name, weights):
    assert cost_model.weights_of(name) == weights
