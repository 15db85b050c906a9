r"""Multi-architectural sampling, as in ViT-ResNAS: children share a batch [Liao2021].

.. math::
    L = \sum_{i=1}^M \frac{|B_i|}{|B|} L_{pred}(w, \alpha_i, B_i), \qquad
    B = B_1 \cup \dots \cup B_M

==================  ====================================================================
:math:`\alpha_i`    ``SupernetModule.turns[i].child``: uniform as in SPOS
:math:`B_i`         consecutive rows of the batch, as many for each child as can be
:math:`M`           ``children``
==================  ====================================================================

A step trains M children in the computation of one. With one it is SPOS.

Differences from the paper: it samples the children of one step such that different embedding widths
run as one padded pass; here each child has a pass on its rows, in any space. BatchNorm sees the
rows of the child alone. The last batch of an epoch may have fewer rows than there are children;
then as many children as rows are trained.

[Liao2021] Liao et al., Searching for Efficient Multi-Stage Vision Transformers, 2021.
"""

from __future__ import annotations

import nni_bootstrap  # noqa: F401
from nni.nas.nn.pytorch import ModelSpace

from ..samplers.base import Sampler
from ..samplers.parts import PartsSampler
from .several import SeveralTurns
from .turn_settings import MultiArchitectureSettings

__all__ = ["MultiArchitecture"]


class MultiArchitecture(SeveralTurns):
    """Train several children a step, each on its part of the batch.

    Parameters are those of :class:`nni_magic.strategies.base.SupernetStrategy`, with
    :class:`nni_magic.strategies.turn_settings.MultiArchitectureSettings`.

    Raises
    ------
    ValueError
        When training starts, if the first batch has fewer rows than there are children, or its
        tensors have different first dimensions.
    """

    settings_class = MultiArchitectureSettings
    settings: MultiArchitectureSettings

    def make_sampler(self, space: ModelSpace) -> Sampler:
        return PartsSampler(
            space, seed=self.seed, filter=self.filter, children=self.settings.children
        )
