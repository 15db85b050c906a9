"""Whether tensors are finite, beside torch's own ``isfinite``, and that nothing is written."""

import pytest
import torch
from torch import nn

from nni_magic.support.finite import all_finite, check_weights


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("value", [1.0, 6e4, float("nan"), float("inf"), -float("inf")])
def test_all_finite_is_torchs_isfinite(dtype, value):
    tensors = [torch.randn(3, 5).to(dtype), torch.randn(7), torch.full((2, 2), value, dtype=dtype)]
    before = [tensor.clone() for tensor in tensors]
    assert all_finite(tensors) is all(bool(t.isfinite().all()) for t in tensors)
    assert all(torch.equal(a, b) or a.isnan().any() for a, b in zip(before, tensors, strict=True))


@pytest.mark.parametrize("default", [torch.float64, torch.bfloat16])
def test_default_type_of_torch_changes_nothing(default):
    # A trainer in 64-true or bf16-true sets it within a step.
    tensors = [torch.ones(3, dtype=default), torch.tensor([1.0, float("nan")])]
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(default)
        assert [all_finite(tensors[:n]) for n in (1, 2)] == [True, False]
    finally:
        torch.set_default_dtype(before)


def test_large_numbers_are_finite_whose_norm_is_not():
    assert all_finite([torch.full((4,), 1e30)]) and torch.full((4,), 1e30).norm().isinf()


def test_layouts_and_complex_numbers():
    sparse = torch.sparse_coo_tensor([[1]], [float("nan")], (3,))
    assert all_finite([]) and not all_finite([sparse])
    assert all_finite([torch.randn(4, 6).t()[::2], torch.randn(3, dtype=torch.complex64)])
    assert not all_finite([torch.tensor([1j * float("inf")])])


def test_weights_are_looked_at_and_not_written():
    weight = torch.randn(3, requires_grad=True)
    version = weight._version
    assert all_finite([weight]) and weight._version == version


def test_weight_that_is_not_finite_is_named():
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    check_weights(net)
    with torch.no_grad():
        net[1].bias[0] = float("inf")
    with pytest.raises(ValueError, match=r"weights are not finite, such as 1\.bias: the training"):
        check_weights(net)
