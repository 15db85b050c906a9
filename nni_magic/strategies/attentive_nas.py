r"""AttentiveNAS: train the best or the worst of several children of about one cost [Wang2021].

.. math::
    c \sim P(c(\alpha)), \quad \alpha^1 \dots \alpha^k \sim P(\alpha \mid c), \qquad
    \alpha = \arg\min_i L(w, \alpha^i) \;\text{or}\; \arg\max_i L(w, \alpha^i)

=====================  =======================================================================
:math:`c(\alpha)`      the cost of a child; its prior P is that of uniform children
:math:`\alpha^i`       ``draws`` (k) children whose costs are in one of 16 intervals
:math:`L`              the evaluator's loss on the batch, with the weights as they are
=====================  =======================================================================

Each of the ``n_random`` random children of :mod:`nni_magic.strategies.sandwich` is chosen so:
``pick`` is ``best_up`` for the least loss, ``worst_up`` for the most. A step costs ``n_random`` + 2
forward and backward passes, and ``n_random`` · ``draws`` forward passes.

Differences from the paper: it predicts accuracies by a trained predictor or takes the loss on a
batch; here it is the loss on the training batch itself. The children are drawn by rejection, whose
mean number of draws is that of the intervals, where the paper keeps a table of choices by cost.

[Wang2021] Wang et al., AttentiveNAS: Improving Neural Architecture Search via Attentive Sampling,
CVPR 2021.
"""

from __future__ import annotations

import nni_bootstrap  # noqa: F401
from nni.nas.nn.pytorch import ModelSpace

from ..samplers.attentive import AttentiveSampler
from ..samplers.base import Sampler
from .sandwich import Sandwich
from .turn_settings import AttentiveNASSettings

__all__ = ["AttentiveNAS"]


class AttentiveNAS(Sandwich):
    """Train a sandwich of children a step, the random ones picked by their loss on the batch.

    Parameters are those of :class:`nni_magic.strategies.by_cost.ByCost`, with
    :class:`nni_magic.strategies.turn_settings.AttentiveNASSettings`.
    """

    settings_class = AttentiveNASSettings
    settings: AttentiveNASSettings

    def make_sampler(self, space: ModelSpace) -> Sampler:
        own = self.settings
        return AttentiveSampler(
            space, seed=self.seed, filter=self.filter, cost=self.cost_in(space),
            n_random=own.n_random, draws=own.draws, pick=own.pick,
        )  # fmt: skip
