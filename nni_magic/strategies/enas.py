r"""ENAS: a controller draws the children, and learns from their validation scores [Pham2018].

.. math::
    \alpha_t \sim \pi_\theta, \qquad
    \theta \leftarrow \theta + \eta \, (r(\alpha) - b) \, \nabla_\theta \log \pi_\theta(\alpha)

==================  ====================================================================
:math:`\pi_\theta`  an LSTM that chooses for one block after the other, and reads what it has chosen
:math:`r`           the child's score on validation data, larger is better, with the entropy of its
                    choices as a bonus; b is the mean of the rewards
==================  ====================================================================

After every epoch the controller makes ``controller_steps`` steps, each by the score of a child of
its own. So training goes where scores are good, and the best children that the controller has drawn
are known when it ends. A training step costs one forward and backward pass, a step of the
controller the score of a child, see ``validation_batches``. The controller learns a budget no other
way than by drawing children until one is inside: of a ``filter`` that few pass it finds none, and
says so.

Differences from the paper: any space of choices, where its cells and skip connections have
controllers of their own; a score is on the same validation batches every time, and not on one drawn
anew; a metric of which smaller is better is taken with the other sign; the baseline begins at the
first reward. As in the authors' code logits are bounded, Adam has no momentum, and the entropy is
that of the choices made; other than there a step is by one child and not by the mean of twenty, and
every block has weights of its own. NNI's ``ENAS`` trains its controller by PPO.

[Pham2018] Pham et al., Efficient Neural Architecture Search via Parameter Sharing, ICML 2018.
"""

from __future__ import annotations

import nni_bootstrap  # noqa: F401
from nni.nas.nn.pytorch import ModelSpace

from ..samplers.base import Sampler
from ..samplers.controlled import ControlledSampler
from .base import SupernetStrategy
from .drawn_settings import ENASSettings

__all__ = ["ENAS"]


class ENAS(SupernetStrategy):
    """Train the children of a controller that learns from their validation scores.

    Parameters are those of :class:`nni_magic.strategies.base.SupernetStrategy`, with
    :class:`nni_magic.strategies.drawn_settings.ENASSettings`.
    """

    settings_class = ENASSettings
    settings: ENASSettings

    def make_sampler(self, space: ModelSpace) -> Sampler:
        own = self.settings
        return ControlledSampler(
            space, seed=self.seed, filter=self.filter, n_steps=own.controller_steps,
            learning_rate=own.controller_learning_rate, entropy_weight=own.entropy_weight,
        )  # fmt: skip
