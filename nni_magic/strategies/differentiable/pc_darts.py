r"""PC-DARTS: a mixture on a part of the channels, with weights of a cell's edges [Xu2020].

.. math::
    f(x) = \mathrm{shuffle}_K\left(\sum_o \theta_o\, o(x_{1 \dots C/K}) \,\Vert\,
    x_{C/K+1 \dots C}\right), \qquad
    x_i = \sum_{j < i} \beta_{i,j} f_{i,j}(x_j)

==================  ====================================================================
:math:`K`           ``partial_channels``: of C channels C/K pass the mixture
:math:`\theta`      softmax of the architecture parameters of an edge, or of a choice
:math:`\beta_i`     softmax of the parameters of the edges into node i of a cell
==================  ====================================================================

A step so takes a K-th of the memory of the mixture, and θ is steadier, as less hangs on operators
without weights. A cell's operators and inputs are chosen by the products of β and θ.

The supernet has the mixture's weights, and so its children are of operators on C/K channels,
too. That is what ranks them; a child that is built by its sample and trained has all channels.

Differences from the paper: NNI's ``Cell`` has β; where a module of the space itself adds what comes
from several choices, as in NAS-Bench-201, all edges count alike, and an ``InputChoice`` has a
mixture of its inputs as ever. Pooling has no BatchNorm of its own but what the space gives. The
warm-up of the weights alone, 15 of 50 epochs, is ``arc_warmup_epochs``, by default 0.

[Xu2020] Xu et al., PC-DARTS: Partial Channel Connections for Memory-Efficient Architecture Search,
ICLR 2020.
"""

from __future__ import annotations

from .base import Differentiable
from .settings import PCDartsSettings

__all__ = ["PCDarts"]


class PCDarts(Differentiable):
    """Train a mixture of operators on a part of the channels, by Adam.

    Parameters are those of :class:`nni_magic.strategies.differentiable.base.Differentiable`, with
    :class:`nni_magic.strategies.differentiable.settings.PCDartsSettings`.
    """

    settings_class = PCDartsSettings
    settings: PCDartsSettings

    @property
    def partial_channels(self) -> int:
        return self.settings.partial_channels
