"""Outputs of two models, compared in whatever they come."""

from dataclasses import dataclass

import pytest
import torch

from nni_magic.supernet.outputs import alike, tolerance


@dataclass
class Output:
    logits: torch.Tensor
    attention: torch.Tensor | None = None




X = torch.tensor([1.0, -2.0])


@pytest.mark.parametrize("wrap", [
    lambda x: x, lambda x: (x, None), lambda x: {"a": [x, 3, "b"]}, Output, lambda x: (object(), x),
    lambda x: [Output(x), {"mask": torch.tensor([True])}],
])  # fmt: skip
def test_alike_looks_into_containers(wrap):
    assert alike(wrap(X), wrap(X.clone()))
    assert not alike(wrap(X), wrap(X + 1e-4))
    assert alike(wrap(X), wrap(X + 1e-4), 1e-3)
    assert not alike(wrap(X), wrap(X + 1e-2), 1e-3)


@pytest.mark.parametrize(("a", "b"), [
    (X, (X,)), (X, X.double()), (X, X[:1]), (X, None), ((X, None), (X, X)), ({"a": X}, {"b": X}),
    (Output(X, X), Output(X)), (torch.tensor([True]), torch.tensor([False])), ((X, 1), (X, 2)),
])  # fmt: skip
def test_other_outputs_are_not_alike(a, b):
    assert not alike(a, b, 1e-3)


def test_tolerance_is_relative_to_the_largest_and_at_least_the_types_precision():
    assert alike(torch.tensor([1000.0, 0.0]), torch.tensor([1000.0, 0.9]), 1e-3)
    assert not alike(torch.tensor([1.0, 0.0]), torch.tensor([1.0, 0.9]), 1e-3)
    assert alike(X.bfloat16(), (X * 1.02).bfloat16(), 1e-3)
    assert alike(torch.tensor([float("nan"), 1.0]), torch.tensor([float("nan"), 1.0]), 1e-3)
    assert alike(torch.empty(0), torch.empty(0), 1e-3)


def test_tolerance_is_larger_under_autocast():
    assert tolerance() == 1e-3
    with torch.autocast("cpu"):
        assert tolerance() == 0.1
