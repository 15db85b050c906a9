r"""Architecture parameters on the simplex: their optimizer, and what is read of them.

A simplex of k candidates holds the :math:`\theta \ge 0` whose sum is 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import nni_bootstrap  # noqa: F401
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

__all__ = ["ExponentiatedGradient", "Sampled", "SampledSoftmax", "entropy"]


class ExponentiatedGradient(Optimizer):
    r"""Exponentiated gradient: mirror descent with the Kullback-Leibler divergence.

    .. math::
        \theta \leftarrow \frac{\theta \odot \exp(-\eta \nabla_\theta \ell)}
        {\sum_o \theta_o \exp(-\eta \nabla_{\theta_o} \ell)}

    It is computed from logarithms, so that no exponential overflows. A zero stays a zero.

    Parameters
    ----------
    params
        Tensors whose last dimension is on the simplex.
    lr
        :math:`\eta`.

    Examples
    --------
    >>> theta = torch.tensor([0.5, 0.5])
    >>> theta.grad = torch.tensor([1.0, 0.0])
    >>> ExponentiatedGradient([theta], lr=1.0).step()
    >>> theta
    tensor([0.2689, 0.7311])
    """

    def __init__(self, params: Iterable[Tensor], lr: float) -> None:
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Make one step along the gradients in ``grad``; a tensor without one stays."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for theta in group["params"]:
                if theta.grad is not None:
                    theta.copy_(torch.softmax(theta.log() - group["lr"] * theta.grad, -1))
        return loss


class Sampled(nn.Module):
    r"""Samples of a point on the simplex: one-hot ones, with the gradient of soft ones [Dong2019].

    .. math::
        \tilde h = \mathrm{softmax}((\log \theta + o) / \tau), \qquad
        h = \mathrm{onehot}(\arg\max \tilde h)

    with Gumbel noise o. In evaluation mode it gives :math:`\theta`, what samples are on average.

    Parameters
    ----------
    hard
        Whether samples are h, and not :math:`\tilde h`.

    Attributes
    ----------
    temperature : float
        :math:`\tau`.
    """

    def __init__(self, hard: bool = True) -> None:
        super().__init__()
        self.hard = hard
        self.temperature = 1.0
        self._noise: dict[int, Tensor] = {}

    def draw(self, theta: Iterable[Tensor], generator: torch.Generator) -> None:
        """Draw noise for the next step; candidates of one label then have the same everywhere."""
        self._noise = {}
        for each in theta:
            exponential = torch.empty(each.shape, dtype=torch.float64)
            noise = -exponential.exponential_(generator=generator).log()
            self._noise[id(each)] = noise.to(each)

    def theta(self, parameter: Tensor) -> Tensor:
        """The point that a parameter stands for: itself."""
        return parameter

    def log_theta(self, parameter: Tensor) -> Tensor:
        """Its logarithm, but for a constant."""
        return parameter.log()

    def forward(self, parameter: Tensor) -> Tensor:
        if not self.training:
            return self.theta(parameter)
        noisy = self.log_theta(parameter) + self._noise[id(parameter)]
        soft = torch.softmax(noisy / self.temperature, -1)
        if not self.hard:
            return soft
        hard = torch.zeros_like(soft).scatter_(-1, soft.argmax(-1, keepdim=True), 1.0)
        return hard - soft.detach() + soft


class SampledSoftmax(Sampled):
    """Samples of the softmax of a parameter."""

    def theta(self, parameter: Tensor) -> Tensor:
        return parameter.softmax(-1)

    def log_theta(self, parameter: Tensor) -> Tensor:
        return parameter


def entropy(theta: Tensor) -> Tensor:
    """Entropy of a point on the simplex, in nats.

    Examples
    --------
    >>> entropy(torch.tensor([0.5, 0.5, 0.0]))
    tensor(0.6931)
    """
    return torch.special.entr(theta).sum(-1)
