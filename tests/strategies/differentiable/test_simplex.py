"""Steps on the simplex, samples of a point on it, and its entropy."""

import math

import numpy as np
import pytest
import torch

from nni_magic.strategies.differentiable.simplex import ExponentiatedGradient, Sampled, entropy


def stepped(theta, gradient, rate):
    theta = torch.tensor(theta, dtype=torch.float64)
    theta.grad = torch.tensor(gradient, dtype=torch.float64)
    ExponentiatedGradient([theta], lr=rate).step()
    return theta.numpy()


@pytest.mark.parametrize("k", [2, 5, 33])
def test_step_is_the_formula_in_float64(k):
    draws = np.random.default_rng(k)
    theta, gradient = draws.dirichlet(np.ones(k)), draws.normal(size=k)
    rate = 0.37
    raised = [t * math.exp(-rate * g) for t, g in zip(theta, gradient, strict=True)]
    expected = [each / sum(raised) for each in raised]
    np.testing.assert_allclose(stepped(theta, gradient, rate), expected, rtol=1e-13)


def test_step_minimises_the_linearised_loss_with_the_divergence():
    # argmin over the simplex of <g, x> + KL(x || theta) / eta, by no formula of the method's.
    from scipy.optimize import minimize

    theta, gradient, rate = np.array([0.2, 0.5, 0.3]), np.array([1.0, -2.0, 0.5]), 0.8

    def objective(x):
        return gradient @ x + (x * np.log(x / theta)).sum() / rate

    found = minimize(
        objective, theta, bounds=[(1e-9, 1)] * 3, tol=1e-14,
        constraints={"type": "eq", "fun": lambda x: x.sum() - 1},
    )  # fmt: skip
    np.testing.assert_allclose(stepped(theta, gradient, rate), found.x, atol=1e-5)


def test_theta_stays_on_the_simplex_whatever_the_gradients():
    draws = torch.Generator().manual_seed(0)
    theta = torch.full((4, 5), 0.2)
    optimizer = ExponentiatedGradient([theta], lr=1.0)
    for scale in (1, 100, 1e4, 1e30):
        theta.grad = scale * torch.randn(4, 5, generator=draws)
        optimizer.step()
        assert (theta >= 0).all()
        torch.testing.assert_close(theta.sum(-1), torch.ones(4))


def test_zero_stays_zero_and_what_has_no_gradient_stays():
    np.testing.assert_allclose(stepped([0.0, 0.25, 0.75], [-9.0, 1.0, 1.0], 1.0), [0, 0.25, 0.75])
    theta = torch.tensor([0.3, 0.7])
    ExponentiatedGradient([theta], lr=1.0).step()
    assert theta.tolist() == pytest.approx([0.3, 0.7])


def test_entropy_is_the_sum():
    theta = torch.tensor([[0.1, 0.2, 0.7], [0.0, 0.0, 1.0]], dtype=torch.float64)
    expected = -sum(p * math.log(p) for p in (0.1, 0.2, 0.7))
    assert entropy(theta).tolist() == pytest.approx([expected, 0.0])


def drawn(theta, n, temperature=1.0):
    sampled, generator = Sampled(), torch.Generator().manual_seed(5)
    sampled.temperature = temperature
    for _ in range(n):
        sampled.draw([theta], generator)
        yield sampled(theta)


def test_samples_are_one_hot_and_as_frequent_as_theta_says():
    theta, n = torch.tensor([0.1, 0.2, 0.7, 0.0]), 4000
    samples = torch.stack(list(drawn(theta, n)))
    assert ((samples - samples.round()).abs() < 1e-6).all()
    torch.testing.assert_close(samples.sum(-1), torch.ones(n))
    frequencies = samples.mean(0)
    assert frequencies[3] == 0
    five_sigma = 5 * (theta * (1 - theta) / n).sqrt() + 1e-6
    assert ((frequencies - theta).abs() <= five_sigma).all()


def test_gradient_of_a_sample_is_that_of_the_soft_one():
    theta = torch.tensor([0.3, 0.7], dtype=torch.float64, requires_grad=True)
    weights = torch.tensor([2.0, -1.0], dtype=torch.float64)
    sampled = Sampled()
    sampled.temperature = 0.5
    sampled.draw([theta], torch.Generator().manual_seed(1))
    [gradient] = torch.autograd.grad(sampled(theta) @ weights, theta)
    noise = -torch.empty(2, dtype=torch.float64).exponential_(
        generator=torch.Generator().manual_seed(1)
    ).log()

    def soft(values):
        raised = [(v * math.exp(o)) ** (1 / 0.5) for v, o in zip(values, noise, strict=True)]
        return sum(w * r for w, r in zip(weights.tolist(), raised, strict=True)) / sum(raised)

    step = 1e-6
    for i in range(2):
        up, down = [theta.tolist() for _ in range(2)]
        up[i], down[i] = up[i] + step, down[i] - step
        slope = (soft(up) - soft(down)) / (2 * step)
        assert float(gradient[i]) == pytest.approx(float(slope), rel=1e-6)


def test_in_evaluation_there_is_no_sample():
    theta = torch.tensor([0.3, 0.7])
    assert Sampled().eval()(theta) is theta
