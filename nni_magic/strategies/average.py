r"""Alignment to the average of random children, for analysis [Xu2022, App. A.2].

.. math::
    H_n^{avg} = \frac{1}{C} \sum_{i=1}^C H_n(\alpha^i), \qquad
    L = L_{pred} + \lambda \sum_{n \in A} \mathrm{MSE}(H_n^{avg}, H_n(\alpha_t))

==================  ====================================================================
:math:`\alpha_t`    ``SupernetModule.child``: trained at step t, uniform as in SPOS
:math:`\alpha^i`    random children, drawn anew every step
:math:`C`           ``n_children``
:math:`H_n`         output of layer n, residual and norm included
:math:`A`           every ``align_every`` layers, or ``aligned_layers``
:math:`\lambda`     ``alignment_weight``
==================  ====================================================================

There is no anchor. A step costs C passes through the model on top of its own, which is why the
paper goes on to MAGIC-A.

Differences from the paper: it aligns every layer (``align_every=1``) and mentions no warm start
(``warmup_epochs=0``); the defaults here are those of MAGIC-A, to be compared with it.

[Xu2022] Xu et al., Analyzing and Mitigating Interference in Neural Architecture Search.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import nni_bootstrap  # noqa: F401
from nni.mutable import Sample

from ..samplers.base import Sampler
from ..supernet.hidden_states import States
from ..support.errors import check_count
from .aligned import AlignedStrategy, AligningModule

__all__ = ["AverageAlignment"]


class AverageAlignedModule(AligningModule):
    """Aligns to the average of random children."""

    def __init__(
        self, training_module: Any, sampler: Sampler, *, n_children: int, **kwargs: Any
    ) -> None:
        super().__init__(training_module, sampler, **kwargs)
        self.n_children = n_children

    def target(self, replay: Callable[[Sample], States]) -> States:
        """Average over the step's children, the same ones for all batches of a step."""
        # Seed and step tell the children: nothing has to be kept for a run that is resumed.
        children = self.draw_children(self.n_children, 6, self.trainer.global_step)
        total: States = {}
        for child in children:
            for name, state in replay(child).items():
                total[name] = total.get(name, 0) + state.float()
        return {name: states / len(children) for name, states in total.items()}


class AverageAlignment(AlignedStrategy):
    """Train a supernet whose children have hidden states like the average child's.

    Parameters
    ----------
    n_children
        C, the random children that are averaged; fewer where the space has no more. The paper
        has as many as candidates in a block.
    **kwargs
        See :class:`nni_magic.strategies.aligned.AlignedStrategy`.
    """

    module_class = AverageAlignedModule

    def __init__(self, *, n_children: int = 6, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_count("n_children", n_children)
        self.alignment["n_children"] = n_children
