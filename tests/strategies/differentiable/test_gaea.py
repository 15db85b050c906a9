"""GAEA: where it begins, what it is for, and its variant that samples."""

import pytest
import torch
from mixtures import make, run
from spaces import FlatSpace

torch.set_num_threads(1)


def test_begins_in_the_middle_of_the_simplex():
    strategy = make("gaea")
    strategy.mutate_model(FlatSpace(2, 5))
    for each in strategy.architecture.parameters:
        assert each.tolist() == pytest.approx([0.2] * 5)


def test_larger_rate_makes_theta_sparser():
    entropies = [
        run("gaea", arc_learning_rate=rate, trainer={"epochs": 1})[1].summaries[-1]["entropy"]
        for rate in (0.1, 10.0)
    ]
    assert entropies[1] < entropies[0] - 0.01


def test_edges_of_a_cell_are_on_the_simplex_too():
    strategy, _ = run("gaea_pc_darts", "cell", trainer={"epochs": 1}, arc_learning_rate=1.0)
    raw = strategy.architecture.by_label
    assert {"cell/2", "cell/2_0", "cell/2_1"} <= set(raw)
    for label, parameter in raw.items():
        assert float(parameter.sum()) == pytest.approx(1)
        assert len(parameter) == 1 or parameter.std() > 1e-4, label
