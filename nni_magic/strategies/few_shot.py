r"""Few-shot NAS: one supernet for a while, then one for every group of a block's candidates [1].

.. math::
    A = A_1 \cup \dots \cup A_G, \quad A_g = \{\alpha : \alpha_b \in O_g\}, \qquad
    w_g \leftarrow w, \qquad \alpha_t \sim U(A_{t \bmod G})

==================  ====================================================================
:math:`b`           the block that is split, ``split_label``
:math:`O_g`         groups of its candidates, of equal size, ``parts`` of them
:math:`w_g`         weights of the children of a group; all begin with the w of the first share of
                    the training, ``split_after``, with an optimizer that begins anew
==================  ====================================================================

What children share disturbs them, as they want different weights: fewer share. With ``by`` the
groups are neighbours in the order of the space (``order``, of [1]); those between which the shared
weights' gradients have the least cosine, over all blocks (``gradients``, [2]); or those whose
profiles of local intrinsic dimension are apart (``lid``, [3]). A step costs one forward and
backward pass, the steps behind the split are divided among the parts, and the weights take
``parts`` times the memory. To measure takes ``split_children`` passes for every candidate of the
space, once.

Differences from the papers: the parts are trained in turns, step by step, under one schedule of
learning rates, where the papers train one after the other, each with a schedule of its own. There
is one split; [2] and [3] go on to split the parts. [1] gives every candidate a part, which is
``parts`` as many. The cut is found by trying all groups of equal size.

[1] Zhao et al., Few-shot Neural Architecture Search, ICML 2021.
[2] Hu et al., Generalizing Few-Shot NAS with Gradient Matching, ICLR 2022.
[3] He et al., NAS-LID: Efficient Neural Architecture Search with Local Intrinsic Dimension, AAAI
2023.
"""

from __future__ import annotations

from typing import Any

import nni_bootstrap  # noqa: F401
from nni.nas.nn.pytorch import ModelSpace

from ..samplers.base import Sampler
from ..samplers.few_shot import FewShotSampler
from ..supernet.parted import PartedSupernet
from .base import SupernetStrategy
from .drawn_settings import FewShotSettings
from .shrinking import refuse_shrinking

__all__ = ["FewShot"]


class FewShot(SupernetStrategy):
    """Train one supernet, and then one for every group of a block's candidates.

    The supernet that it trains is a :class:`nni_magic.supernet.parted.PartedSupernet`, in which a
    child is run by the part that holds it. Parameters are those of
    :class:`nni_magic.strategies.base.SupernetStrategy`, with
    :class:`nni_magic.strategies.drawn_settings.FewShotSettings`. A shrinking is refused.
    """

    settings_class = FewShotSettings
    settings: FewShotSettings

    def __init__(self, filter: Any = None, **kwargs: Any) -> None:
        super().__init__(filter, **kwargs)
        refuse_shrinking(self.shrinking, "the parts of FewShot have candidates of their own")

    def make_sampler(self, space: ModelSpace) -> Sampler:
        own = self.settings
        return FewShotSampler(
            space, seed=self.seed, filter=self.filter, n_parts=own.parts, by=own.by,
            label=own.split_label, after=own.split_after, n_children=own.split_children,
            on_split=self._split,
        )  # fmt: skip

    def mutate_model(self, model: Any) -> Any:
        return PartedSupernet(super().mutate_model(model), self.settings.parts)

    def _split(self, label: str, groups: list[list[Any]]) -> None:
        supernet: PartedSupernet = self._module.training_module.model
        supernet.split(label, groups)
        self._module.router.forget()
        for optimizer in self._trainer.optimizers:
            optimizer.state.clear()
