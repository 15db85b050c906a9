r"""MAGIC-T: modify the child gradually from step to step [Xu2022, Sec. 4].

.. math:: \alpha_t = \alpha_{t-1} \text{ with } k \text{ operators replaced at random}

==================  ===================================================
:math:`\alpha_t`    ``SupernetModule.child``: trained at step t
:math:`k`           ``k``
==================  ===================================================

The more two children differ, the more their gradients on a shared operator interfere. SPOS
changes N (C - 1) / C operators a step; MAGIC-T changes ``k = 1`` and still visits all children
equally often in the long run, see :class:`nni_magic.samplers.gradual.GradualSampler`.

With ``walks`` above 1 so many walks take turns: steps t and t + ``walks`` train adjacent children
of one walk, and the last children trained are not all near each other. In small spaces that are
trained for few steps a single walk makes children worse than SPOS does, and four by less than
SPOS's spread over seeds if at all: see docs/evidence.md.

Differences from the paper: a step is an optimizer step, so that under gradient accumulation the
child stays; ``lazy`` is offered, because with two candidates a block the paper's walk is periodic.

[Xu2022] Xu et al., Analyzing and Mitigating Interference in Neural Architecture Search.
"""

from __future__ import annotations

import nni_bootstrap  # noqa: F401
from nni.nas.nn.pytorch import ModelSpace

from ..samplers.base import Sampler
from ..samplers.gradual import GradualSampler
from ..samplers.interleaved import InterleavedSampler
from .base import SupernetStrategy
from .settings import GradualSettings

__all__ = ["MagicT"]


class MagicT(SupernetStrategy):
    """Train a supernet on children that differ in ``k`` operators from step to step.

    Parameters are those of :class:`nni_magic.strategies.base.SupernetStrategy`, with
    :class:`nni_magic.strategies.settings.GradualSettings`.
    """

    settings_class = GradualSettings
    settings: GradualSettings

    def make_sampler(self, space: ModelSpace) -> Sampler:
        own = self.settings
        walk = {"seed": self.seed, "filter": self.filter, "k": own.k, "lazy": own.lazy}
        if own.walks == 1:
            return GradualSampler(space, **walk)
        return InterleavedSampler(space, **walk, walks=own.walks)
