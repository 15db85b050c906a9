"""Spaces whose choices are gates."""

import torch
from mixtures import make


def mixed(space):
    """A strategy of ProxylessNAS on a space, and its gates."""
    strategy = make("proxyless_nas")
    strategy.mutate_model(space)
    return strategy, strategy._gates


def opened(space, path, weights=None):
    """A strategy, its gate with the path set, and the parameter, which has a gradient."""
    strategy, [gate] = mixed(space)
    [alpha] = strategy.architecture.parameters
    if weights is not None:
        alpha.data.copy_(torch.tensor(weights))
    alpha.requires_grad_()
    gate.path = path
    return strategy, gate, alpha
