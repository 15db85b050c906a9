r"""PreNAS: train only the children that a zero-cost score prefers [Wang2023].

.. math::
    S(\alpha) = \sum_{w \in \alpha} \left| w \frac{\partial L(w, \alpha)}{\partial w} \right|,
    \qquad P = \bigcup_g \text{top}_{10 \%} \{\alpha : c(\alpha) \in g\}, \qquad \alpha_t \sim U(P)

==================  ====================================================================
:math:`S`           connection sensitivity [Lee2019] with the initial weights, on one batch
:math:`g`           one of ``cost_groups`` intervals of the cost c, the parameters by default
:math:`P`           the pool: ``pool_share`` of the ``scored_children`` of every group
:math:`\alpha_t`    ``SupernetModule.child``, trained at step t
==================  ====================================================================

The pool is chosen on the first batch, at ``scored_children`` forward and backward passes; then a
step costs one. The children that are validated and exported are of the pool; a search may look at
all.

Differences from the paper: its selector is made for the layers of its vision transformers; here the
children of any space are scored one by one on the evaluator's own loss, and those of about the same
cost are compared, because a larger child has a larger score.

[Wang2023] Wang et al., PreNAS: Preferred One-Shot Learning Towards Efficient Neural Architecture
Search, ICML 2023.
[Lee2019] Lee et al., SNIP: Single-shot Network Pruning based on Connection Sensitivity, ICLR 2019.
"""

from __future__ import annotations

from typing import Any

import nni_bootstrap  # noqa: F401
from nni.nas.nn.pytorch import ModelSpace

from ..samplers.base import Sampler
from ..samplers.pool import PoolSampler
from .by_cost import ByCost
from .drawn_settings import PreNASSettings
from .shrinking import refuse_shrinking

__all__ = ["PreNAS"]


class PreNAS(ByCost):
    """Train only the children of every cost that a zero-cost score prefers.

    Parameters are those of :class:`nni_magic.strategies.by_cost.ByCost`, with
    :class:`nni_magic.strategies.drawn_settings.PreNASSettings`. A shrinking is refused.
    """

    settings_class = PreNASSettings
    settings: PreNASSettings

    def __init__(self, filter: Any = None, **kwargs: Any) -> None:
        super().__init__(filter, **kwargs)
        refuse_shrinking(self.shrinking, "PreNAS trains a pool of children that stays")

    def make_sampler(self, space: ModelSpace) -> Sampler:
        own = self.settings
        return PoolSampler(
            space, seed=self.seed, filter=self.filter, cost=self.cost_in(space),
            n_scored=own.scored_children, share=own.pool_share, n_groups=own.cost_groups,
        )  # fmt: skip
