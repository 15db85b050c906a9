"""Spaces whose choices are gates."""

from mixtures import make


def mixed(space):
    """A strategy of ProxylessNAS on a space, and its gates."""
    strategy = make("proxyless_nas")
    strategy.mutate_model(space)
    return strategy, strategy._gates
