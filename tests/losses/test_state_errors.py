"""Errors of hidden states, against numpy and scipy on arrays without padding."""

import numpy as np
import pytest
import scipy.spatial.distance
import torch

from nni_magic.losses.state_errors import (
    STATE_ERRORS,
    cosine_distance,
    mean_squared_error,
    relative_error,
)

SHAPES = [(4, 3), (2, 5, 3), (2, 3, 4, 4)]


def pair(shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator), torch.randn(shape, generator=generator) * 3


@pytest.mark.parametrize("shape", SHAPES)
def test_squared_error_is_numpys(shape):
    target, state = pair(shape)
    expected = np.mean((target.numpy() - state.numpy()) ** 2)
    assert mean_squared_error(target, state).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_relative_error_is_the_share_of_the_mean_square(shape):
    target, state = (tensor.numpy() for tensor in pair(shape))
    expected = np.mean((target - state) ** 2) / ((np.mean(target**2) + np.mean(state**2)) / 2)
    assert relative_error(*pair(shape)).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_cosine_distance_is_scipys_averaged_over_examples(shape):
    target, state = pair(shape)
    expected = np.mean(
        [
            scipy.spatial.distance.cosine(t.flatten().numpy(), s.flatten().numpy())
            for t, s in zip(target, state, strict=True)
        ]
    )
    assert cosine_distance(target, state).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", STATE_ERRORS)
def test_padding_counts_nowhere(name):
    """As if every example were cut where its padding begins, of equal lengths here."""
    target, state = pair((2, 5, 3))
    mask = torch.tensor([[1, 1, 1, 0, 0]] * 2)
    padded = [torch.where(mask[..., None] != 0, tensor, 1e3) for tensor in (target, state)]
    cut = STATE_ERRORS[name](target[:, :3], state[:, :3], None)
    torch.testing.assert_close(STATE_ERRORS[name](padded[0], state, mask), cut)
    torch.testing.assert_close(STATE_ERRORS[name](target, padded[1], mask), cut)


@pytest.mark.parametrize("scale", [1e-8, 1e8])
@pytest.mark.parametrize("name", ["relative", "cosine"])
def test_scale_changes_nothing(name, scale):
    target, state = pair((2, 5, 3))
    scaled = STATE_ERRORS[name](target * scale, state * scale, None)
    torch.testing.assert_close(scaled, STATE_ERRORS[name](target, state, None))


@pytest.mark.parametrize("name", STATE_ERRORS)
def test_equal_states_have_no_error_and_dead_ones_are_finite(name):
    _, state = pair((2, 5, 3))
    assert STATE_ERRORS[name](state, state, None).item() == pytest.approx(0, abs=1e-6)
    dead = torch.zeros_like(state)
    for pair_of in ((dead, state), (state, dead), (dead, dead)):
        moving = pair_of[1].clone().requires_grad_()
        error = STATE_ERRORS[name](pair_of[0], moving, None)
        error.backward()
        assert error.isfinite() and moving.grad.isfinite().all()


def test_nothing_is_gained_by_larger_states():
    """The size has no gradient: along the state itself it is that of the squared error alone."""
    target, state = pair((2, 5, 3))
    state.requires_grad_()
    [slope] = torch.autograd.grad(relative_error(target, state), state)
    size = (state.square().mean() + target.square().mean()).detach() / 2
    torch.testing.assert_close(slope, 2 * (state - target).detach() / state.numel() / size)
    assert relative_error(torch.zeros(2, 3), torch.full((2, 3), 9.0)).item() == pytest.approx(2)
