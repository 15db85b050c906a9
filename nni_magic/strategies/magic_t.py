r"""MAGIC-T: modify the child gradually from step to step [Xu2022, Sec. 4].

.. math:: \alpha_t = \alpha_{t-1} \text{ with } k \text{ operators replaced at random}

==================  ===================================================
:math:`\alpha_t`    ``SupernetModule.child``: trained at step t
:math:`k`           ``k``
==================  ===================================================

The more two children differ, the more their gradients on a shared operator interfere. SPOS
changes N (C - 1) / C operators a step; MAGIC-T changes ``k = 1`` and still visits all children
equally often in the long run, see :class:`nni_magic.samplers.base.GradualSampler`.

With ``walks`` above 1, for study, so many walks take turns: steps t and t + ``walks`` train
adjacent children of one walk, and the last children trained are not all near each other.

Differences from the paper: a step is an optimizer step, so that under gradient accumulation the
child stays; ``lazy`` is offered, because with two candidates a block the paper's walk is periodic.

[Xu2022] Xu et al., Analyzing and Mitigating Interference in Neural Architecture Search.
"""

from __future__ import annotations

from typing import Any

import nni_bootstrap  # noqa: F401
from nni.nas.nn.pytorch import ModelSpace

from ..samplers.base import GradualSampler, Sampler
from ..samplers.interleaved import InterleavedSampler
from ..support.errors import check_count
from .base import SupernetStrategy

__all__ = ["MagicT"]


class MagicT(SupernetStrategy):
    """Train a supernet on children that differ in ``k`` operators from step to step.

    Parameters
    ----------
    k
        Operators replaced between adjacent steps.
    lazy
        Draw a replacement from all candidates, the present one included. Use it when blocks
        have two candidates.
    walks
        Walks that take turns, see :class:`nni_magic.samplers.interleaved.InterleavedSampler`.
    **kwargs
        See :class:`nni_magic.strategies.base.SupernetStrategy`.
    """

    def __init__(self, *, k: int = 1, lazy: bool = False, walks: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_count("k", k)
        check_count("walks", walks)
        self.k = k
        self.lazy = lazy
        self.walks = walks

    def make_sampler(self, space: ModelSpace) -> Sampler:
        walk = {"seed": self.seed, "filter": self.filter, "k": self.k, "lazy": self.lazy}
        if self.walks == 1:
            return GradualSampler(space, **walk)
        return InterleavedSampler(space, **walk, walks=self.walks)
