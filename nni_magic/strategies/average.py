r"""Alignment to the average of random children, for analysis [Xu2022, App. A.2].

.. math::
    H_n^{avg} = \frac{1}{C} \sum_{i=1}^C H_n(\alpha^i), \qquad
    L = L_{pred} + \lambda \sum_{n \in A} d(H_n^{avg}, H_n(\alpha_t))

==================  ====================================================================
:math:`\alpha_t`    ``SupernetModule.child``: trained at step t, uniform as in SPOS
:math:`\alpha^i`    random children, drawn anew every step
:math:`C`           ``n_children``
:math:`H_n`         output of layer n, residual and norm included
:math:`A`           every fourth layer but the last one, or ``aligned_layers``
:math:`d`           ``alignment_error``: one minus the cosine of the states of an example
:math:`\lambda`     ``alignment_weight``
==================  ====================================================================

There is no anchor. A step costs C passes through the model on top of its own, which is why the
paper goes on to MAGIC-A.

Differences from the paper: it aligns every layer, the last one too (``aligned_layers``), by the
mean squared error (``alignment_error="mse"``), and mentions no warm start (``warmup_epochs=0``);
the defaults here are those of MAGIC-A, to be compared with it.

[Xu2022] Xu et al., Analyzing and Mitigating Interference in Neural Architecture Search.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import nni_bootstrap  # noqa: F401
import torch
from nni.mutable import Sample
from torch import Tensor
from torch.utils._pytree import tree_map

from ..losses.targets import Target
from ..losses.term import LossTerm
from ..samplers.streams import Stream
from ..supernet.hidden_states import States
from .aligned import alignment
from .base import SupernetStrategy
from .settings import AverageAlignmentSettings

__all__ = ["AverageAlignment", "AverageChild"]


class AverageChild(Target):
    """The average of random children, drawn anew every step.

    Parameters
    ----------
    settings
        Of the strategy.
    """

    def __init__(self, settings: AverageAlignmentSettings) -> None:
        self.n_children = settings.n_children

    def renew(self) -> None:
        # Seed and step tell the children: nothing has to be kept for a run that is resumed.
        step = self.module.trainer.global_step
        if self.ready:
            self._children = self.module.draw_children(self.n_children, Stream.AVERAGE, step)

    @property
    def ready(self) -> bool:
        return bool(self.module.trainer.current_epoch >= self.warmup_epochs)

    def states(self, replay: Callable[[Sample], States]) -> States:
        total: States = {}
        for child in self._children:
            for name, state in replay(child).items():
                state = tree_map(Tensor.float, state)
                total[name] = tree_map(torch.add, total[name], state) if name in total else state
        return tree_map(lambda summed: summed / len(self._children), total)


class AverageAlignment(SupernetStrategy):
    """Train a supernet whose children have hidden states like the average child's.

    Parameters are those of :class:`nni_magic.strategies.base.SupernetStrategy`, with
    :class:`nni_magic.strategies.settings.AverageAlignmentSettings`.
    """

    settings_class = AverageAlignmentSettings
    settings: AverageAlignmentSettings

    def make_terms(self) -> Sequence[LossTerm]:
        return [alignment(self.settings, AverageChild(self.settings))]
