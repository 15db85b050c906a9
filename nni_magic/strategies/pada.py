r"""PA&DA: paths and data by importance, for a gradient of less variance [Lu2023].

.. math::
    p(o) = \delta \frac{g_o}{\sum_{o'} g_{o'}} + \frac{1 - \delta}{C}, \qquad
    q(x) = \delta \frac{g_x}{\sum_{x'} g_{x'}} + \frac{1 - \delta}{n}

==================  ====================================================================
:math:`g_o`         mean norm of the gradient of the children that held candidate o, of a
                    block's C, in the last epoch
:math:`g_x`         mean norm of the gradient of row x, of n, at the logits, in the last epoch
:math:`\delta`      share of the training that was over when the epoch began
==================  ====================================================================

Importance sampling lowers the variance of a gradient most where what is drawn is drawn by the norm
of its gradient. An epoch draws as many rows as there are, with replacement. As in the authors' code
the loss is not weighted by :math:`1 / (n q)`, so that what has large gradients also counts for
more. A step costs one forward and backward pass.

Differences from the paper: a candidate has the gradient norm of all weights of the children that
held it, where the paper takes that of its own weights, which some candidates have none of; and it
has probabilities in every block, where the authors' code for NAS-Bench-201 has one for all edges.
A row that was not drawn in the last epoch keeps its norm, and has none in the authors' code. The
gradient at the logits is the loss's own, for any loss.

[Lu2023] Lu et al., PA&DA: Jointly Sampling PAth and DAta for Consistent NAS, CVPR 2023.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import nni_bootstrap  # noqa: F401
from nni.nas.nn.pytorch import ModelSpace

from ..losses.row_norms import RowNorms
from ..losses.term import LossTerm
from ..samplers.base import Sampler
from ..samplers.weighted import WeightedSampler
from .base import SupernetStrategy
from .drawn_settings import PADASettings

__all__ = ["PADA"]


class PADA(SupernetStrategy):
    """Train children and rows by the norms of their gradients.

    Parameters are those of :class:`nni_magic.strategies.base.SupernetStrategy`, with
    :class:`nni_magic.strategies.drawn_settings.PADASettings`.
    """

    settings_class = PADASettings
    settings: PADASettings

    def make_sampler(self, space: ModelSpace) -> Sampler:
        if not self.settings.path_importance:
            return super().make_sampler(space)
        return WeightedSampler(space, seed=self.seed, filter=self.filter)

    def make_terms(self) -> Sequence[LossTerm]:
        self._rows = RowNorms() if self.settings.data_importance else None
        return () if self._rows is None else (self._rows,)

    def training_loaders(self, loaders: Any) -> Any:
        return loaders if self._rows is None else self._rows.loader(loaders)
