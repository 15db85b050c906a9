r"""DARTS with samples in place of a softmax: the mixture's weights are drawn anew [Dong2019].

.. math::
    w_{e} = \mathrm{softmax}((\alpha_e + o_e) / \tau)

==================  ====================================================================
:math:`\alpha_e`    architecture parameter of one choice e, trained by Adam as in DARTS
:math:`o_e`         Gumbel noise, drawn anew for every step
:math:`\tau`        falls linearly from ``temperature`` to ``final_temperature``
==================  ====================================================================

Soft samples are those of NNI's ``GumbelDARTS``, and the default. With ``hard`` one candidate
is taken, with the gradient of the soft sample: that is GDAS [Dong2019].

Differences from the papers: NNI's strategy draws noise for every module, and here choices of one
label have the same noise, as they are one choice. GDAS's own code computes the sampled candidate
alone, and here all are computed, so that every candidate has its gradient. In validation the
weights are what samples are on average at :math:`\tau = 1`, the softmax of :math:`\alpha`.

[Dong2019] Dong and Yang, Searching for a Robust Neural Architecture in Four GPU Hours, CVPR 2019.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from .base import Differentiable
from .module import MixtureModule
from .sampling import draw_samples
from .settings import GumbelDartsSettings
from .simplex import SampledSoftmax

__all__ = ["GumbelDarts"]


class GumbelDarts(Differentiable):
    """Train a mixture whose weights are drawn anew at every step, by Adam.

    Parameters are those of :class:`nni_magic.strategies.differentiable.base.Differentiable`, with
    :class:`nni_magic.strategies.differentiable.settings.GumbelDartsSettings`.
    """

    settings_class = GumbelDartsSettings
    settings: GumbelDartsSettings

    def mutate_model(self, model: Any) -> Any:
        self._mixing = SampledSoftmax(hard=self.settings.hard)
        return super().mutate_model(model)

    def configure_softmax(self) -> nn.Module:
        return self._mixing  # one for all choices

    def before_step(self, module: MixtureModule) -> None:
        """Draw the samples of the step."""
        draw_samples(self._mixing, self.settings, module)
