r"""FairNAS: a step trains every candidate of every block exactly once [Chu2021].

.. math::
    \alpha_i = (\pi_1(i), \dots, \pi_N(i)), \quad i = 1 \dots C, \qquad
    w \leftarrow w - \eta \sum_{i=1}^C \nabla_w L(w, \alpha_i)

==================  ====================================================================
:math:`\pi_n`       random order of the candidates of block n, drawn anew every step
:math:`\alpha_i`    ``SupernetModule.turns[i].child``
:math:`C`           candidates of every block
==================  ====================================================================

All children of a step see the same batch. A step costs C forward and backward passes.

Differences from the paper: the gradient is that of the summed losses in one backward pass, which
takes the memory of C children; with ``turn_by_turn`` there are C backward passes, as in the paper.
In a space with blocks of several sizes, choices inside of others, or a constraint strict fairness
cannot hold; there it is refused, and while a space shrinks, too.

[Chu2021] Chu et al., FairNAS: Rethinking Evaluation Fairness of Weight Sharing Neural Architecture
Search, ICCV 2021.
"""

from __future__ import annotations

from typing import Any

import nni_bootstrap  # noqa: F401
from nni.nas.nn.pytorch import ModelSpace

from ..samplers.base import Sampler
from ..samplers.fair import FairSampler
from .several import SeveralTurns
from .shrinking import refuse_shrinking

__all__ = ["FairNAS"]


class FairNAS(SeveralTurns):
    """Train a supernet on children that together hold every candidate once, step by step.

    Parameters are those of :class:`nni_magic.strategies.base.SupernetStrategy`, with
    :class:`nni_magic.strategies.turn_settings.TurnSettings`. A filter and a shrinking are refused.

    Raises
    ------
    ValueError
        As for :class:`nni_magic.samplers.fair.FairSampler`, when the space is known.
    """

    def __init__(self, filter: Any = None, **kwargs: Any) -> None:
        super().__init__(filter, **kwargs)
        refuse_shrinking(
            self.shrinking,
            "FairNAS needs blocks of one size, and shrinking deletes single candidates",
        )

    def make_sampler(self, space: ModelSpace) -> Sampler:
        return FairSampler(space, seed=self.seed, filter=self.filter)
