"""Cosines and intrinsic dimensions: against naive formulas."""

import math

import numpy as np
import pytest
import torch

from nni_magic.samplers.similarity import cosines, intrinsic_dimension, profile_similarity


def test_cosines_are_over_the_weights_that_two_children_share():
    generator = torch.Generator().manual_seed(0)
    first, second, third = ([torch.randn(4, generator=generator) for _ in "abc"] for _ in range(3))
    second[1] = third[0] = third[2] = None
    found = cosines([first, second, third])
    a, b = (np.concatenate([each[0].numpy(), each[2].numpy()]) for each in (first, second))
    assert found[0, 1] == found[1, 0]
    assert found[0, 1] == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b), rel=1e-5)
    c, d = first[1].numpy(), third[1].numpy()
    assert found[0, 2] == pytest.approx(c @ d / np.linalg.norm(c) / np.linalg.norm(d), rel=1e-5)
    assert found[1, 2] == 0
    assert np.diag(found) == pytest.approx(1)


def naive(states, k=20):
    """The estimate of every row by loops, and their mean."""
    rows, found = states.reshape(len(states), -1).tolist(), []
    for i, row in enumerate(rows):
        near = sorted(math.dist(row, other) for j, other in enumerate(rows) if j != i)[:k]
        found.append(-1 / np.mean([math.log(r / near[-1]) for r in near]))
    return np.mean(found)


@pytest.mark.parametrize("n", [3, 12, 60])
def test_dimension_is_the_mean_of_the_estimates(n):
    states = torch.randn(n, 2, 3, generator=torch.Generator().manual_seed(n), dtype=torch.float64)
    assert intrinsic_dimension(states) == pytest.approx(naive(states), rel=1e-9)


@pytest.mark.parametrize("dimension", [1, 2, 5])
def test_dimension_of_a_subspace_is_found(dimension):
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(800, dimension, generator=generator) @ torch.randn(
        dimension, 30, generator=generator
    )
    assert intrinsic_dimension(points) == pytest.approx(dimension, rel=0.25)


def test_rows_that_are_all_alike_have_no_dimension():
    assert intrinsic_dimension(torch.ones(5, 3)) == 0.0


def test_too_few_rows_are_refused():
    with pytest.raises(ValueError, match="a batch has 2 rows; accepted are at least 3, so that"):
        intrinsic_dimension(torch.ones(2, 3))


def test_profiles_are_compared_where_all_have_a_value():
    found = profile_similarity([{"a": 0.0, "b": 9.0}, {"a": 2.0}, {"a": 5.0, "c": 1.0}])
    assert found.tolist() == [[0, -2, -5], [-2, 0, -3], [-5, -3, 0]]
