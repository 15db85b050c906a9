r"""ShiftNAS: children by cost, and more of those whose loss lags behind [Zhang2023].

.. math::
    p_g \propto \exp \left( \frac{d_g}{\tau \bar l} \right), \quad
    d_g = l_g - \frac{l_{g-1} + l_{g+1}}{2}, \qquad g \sim p,
    \quad \alpha \sim U(\{\alpha : c(\alpha) \in g\})

==================  ====================================================================
:math:`g`           one of ``cost_groups`` intervals of the cost c, the parameters by default
:math:`l_g`         mean loss of the group's children, over the steps that trained one
:math:`\bar l`      mean of all groups' losses; see :func:`nni_magic.samplers.shifted.shifted`
:math:`\tau`        ``shift_temperature``
==================  ====================================================================

Uniform children have middling costs, so that the cheapest and the dearest are hardly trained; here
all groups have their share, and one that lags behind its neighbours more. A step costs one forward
and backward pass.

Differences from the paper: its architecture generator, a network that is trained to give children
of a wanted cost, is not needed: they are drawn inside of the cost's bounds exactly and uniformly
(:mod:`nni_magic.children.budgeted`). The lag is that to the straight line between the neighbours,
so that the larger loss of cheap children by itself is none, and the means are those of training
losses with momentum 0.9; the paper learns the probabilities by gradients.

[Zhang2023] Zhang et al., ShiftNAS: Improving One-shot NAS via Probability Shift, ICCV 2023.
"""

from __future__ import annotations

import nni_bootstrap  # noqa: F401
from nni.nas.nn.pytorch import ModelSpace

from ..samplers.base import Sampler
from ..samplers.shifted import ShiftedSampler
from .by_cost import ByCost
from .drawn_settings import ShiftNASSettings

__all__ = ["ShiftNAS"]


class ShiftNAS(ByCost):
    """Train children of all costs, more of those whose loss lags behind.

    Parameters are those of :class:`nni_magic.strategies.by_cost.ByCost`, with
    :class:`nni_magic.strategies.drawn_settings.ShiftNASSettings`.
    """

    settings_class = ShiftNASSettings
    settings: ShiftNASSettings

    def make_sampler(self, space: ModelSpace) -> Sampler:
        own = self.settings
        return ShiftedSampler(
            space, seed=self.seed, filter=self.filter, cost=self.cost_in(space),
            n_groups=own.cost_groups, temperature=own.shift_temperature,
        )  # fmt: skip
