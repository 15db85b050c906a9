"""Steps over k: the projection, the counts, and the growth that theory says."""

import math

import numpy as np
import pytest
from scipy.optimize import minimize

from experiments.studies import simplex
from experiments.studies.simplex import exponentiated, markdown, projected, steps_needed


def test_projection_is_the_nearest_point():
    draws = np.random.default_rng(0)
    for k in (2, 5, 9):
        theta, gradient = draws.dirichlet(np.ones(k)), draws.normal(size=k)
        target = theta - 0.7 * gradient
        found = minimize(
            lambda x, target=target: ((x - target) ** 2).sum(), theta, bounds=[(0, 1)] * k,
            constraints={"type": "eq", "fun": lambda x: x.sum() - 1}, tol=1e-14,
        )  # fmt: skip
        np.testing.assert_allclose(projected(theta, gradient, 0.7), found.x, atol=1e-6)


def test_steps_are_counted_until_the_function_is_near_its_minimum():
    signs = np.array([0.0, 1.0, -1.0])
    # 1 - theta_1 with no stiffness on the way: theta_1 = 1 / (1 + 2 exp(-n / 4)) by symmetry.
    expected = next(n for n in range(100) if 1 / (1 + 2 * math.exp(-n / 4)) >= 0.9)
    assert steps_needed(exponentiated, signs, 0.25) == expected
    assert steps_needed(exponentiated, signs, 0.25, most=expected - 1) is None


def test_exponentiated_gradient_needs_log_k_and_projected_gradient_k():
    counts = {}
    for name, (step, allowed) in simplex.METHODS.items():
        counts[name] = [
            steps_needed(step, simplex.random_signs(k, 0), allowed(k)) for k in (16, 64, 256)
        ]
    few, many = counts.values()
    # For four times k: log k adds a constant, k is a factor of four.
    assert few[1] - few[0] == pytest.approx(few[2] - few[1], abs=2)
    assert few[2] < 2 * few[0]
    assert many[1] / many[0] == pytest.approx(4, rel=0.1)
    assert many[2] / many[1] == pytest.approx(4, rel=0.1)


def test_report_and_pictures_are_written(tmp_path, capsys):
    simplex.main(["--output", str(tmp_path), "--hardware", "here", "--sizes", "4", "--seeds", "1"])
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".md", ".png", ".svg"}
    assert "| 4 |" in capsys.readouterr().out


def test_sizes_out_of_range_are_refused(capsys):
    with pytest.raises(SystemExit):
        simplex.main(["--sizes", "1"])
    assert "sizes is 1; accepted are whole numbers of at least 2" in capsys.readouterr().err


def test_table_shows_medians():
    rows = [
        {"k": 4, "method": name, "theory": [1, 5, 9], "best": [2, 2, None]}
        for name in simplex.METHODS
    ]
    assert "| 4 | 5 | 5 | 2 | 2 |" in markdown(rows)
