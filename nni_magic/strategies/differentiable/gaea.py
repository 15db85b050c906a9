r"""GAEA: architecture parameters on the simplex, by exponentiated gradient [Li2021].

.. math::
    \theta^{(i+1)}_e = \frac{\theta^{(i)}_e \odot \exp(-\eta \nabla_{\theta_e} \ell)}
    {\sum_o \theta^{(i)}_{e,o} \exp(-\eta \nabla_{\theta_{e,o}} \ell)}

==================  ====================================================================
:math:`\theta_e`    weights of the candidates of one choice e in the mixture, which sum to
                    1; all alike at the beginning. There is no softmax
:math:`\ell`        loss of a validation batch (``bilevel``), or of the training batch of
                    the weights
:math:`\eta`        ``arc_learning_rate``
==================  ====================================================================

This is mirror descent with the Kullback-Leibler divergence. Over a simplex of k candidates it comes
near a stationary point in O(log k) steps, and gradient descent in O(k); and its parameters become
sparse, so that less is lost when all but the largest are pruned.

``base`` says what is mixed: ``darts`` all candidates; ``pc_darts`` all on a part of the channels,
with weights of a cell's edges that are on the simplex, too (:mod:`.pc_darts`); ``gdas`` one that is
sampled by Gumbel-max, with the gradient of a soft sample.

Differences from the paper: GDAS's own code computes the sampled candidate alone, and here all are
computed, as in NNI's ``GumbelDARTS``, so that every candidate has its gradient. NNI's ``Cell`` has,
at every edge, a candidate more that stands for no connection, and chooses a node's inputs by the
weights of their operators. The second-order gradient of DARTS is left out, as in NNI.

[Li2021] Li, Khodak, Balcan, Talwalkar, Geometry-Aware Gradient Algorithms for Neural Architecture
Search, ICLR 2021.
[Dong2019] Dong and Yang, Searching for a Robust Neural Architecture in Four GPU Hours, CVPR 2019.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import nni_bootstrap  # noqa: F401
import torch
from torch import Tensor, nn

from .base import Differentiable
from .module import MixtureModule
from .sampling import draw_samples
from .settings import GaeaSettings
from .simplex import ExponentiatedGradient, Sampled

__all__ = ["GAEA"]

class GAEA(Differentiable):
    """Train a mixture whose weights are on the simplex, by exponentiated gradient.

    Parameters are those of :class:`nni_magic.strategies.differentiable.base.Differentiable`, with
    :class:`nni_magic.strategies.differentiable.settings.GaeaSettings`.
    """

    settings_class = GaeaSettings
    settings: GaeaSettings

    def mutate_model(self, model: Any) -> Any:
        self._mixing = Sampled() if self.settings.base == "gdas" else nn.Identity()
        return super().mutate_model(model)

    @property
    def partial_channels(self) -> int | None:
        return self.settings.partial_channels if self.settings.base == "pc_darts" else None

    def configure_softmax(self) -> nn.Module:
        return self._mixing  # one for all choices

    def read(self, parameter: Tensor) -> Tensor:
        return parameter

    def begin(self, parameter: Tensor, generator: torch.Generator) -> None:
        parameter.fill_(1 / parameter.numel())

    def make_optimizer(self, parameters: Sequence[nn.Parameter]) -> ExponentiatedGradient:
        return ExponentiatedGradient(parameters, lr=self.settings.arc_learning_rate)

    def before_step(self, module: MixtureModule) -> None:
        """Draw the samples of the step: the seed and its number tell them."""
        if isinstance(self._mixing, Sampled):
            draw_samples(self._mixing, self.settings, module)
