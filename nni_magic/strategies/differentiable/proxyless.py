r"""ProxylessNAS: one path of a mixture at a time, and the gradient of a gate [Cai2019].

.. math::
    \frac{\partial \ell}{\partial \alpha_i} = \sum_j
    \frac{\partial \ell}{\partial g_j} \theta_j (\delta_{ij} - \theta_i), \qquad
    \theta = \mathrm{softmax}\, \alpha

==================  ====================================================================
:math:`g_j`         gate of candidate j: 1 for the one that is drawn by θ in this step, 0 for
                    the others, whose outputs are computed for the gradient alone
:math:`\alpha`      architecture parameters of a choice, trained by Adam
==================  ====================================================================

The layers are those of NNI's ``Proxyless``. As they are they export a child at random, draw by
torch's global generator, and compute all candidates behind every step of the weights: here the
child of the largest weights is exported, draws are told by seed and step, and a step of the weights
computes one path.

Differences from the paper: it compares two drawn candidates in a step of the architecture, and here
all are compared, as in NNI. Both steps of a turn take the same path. Validation is of the path of
the largest weights. A depth cannot be chosen, and neither can layers' arguments or inputs of a
``Cell``.

[Cai2019] Cai, Zhu and Han, ProxylessNAS: Direct Neural Architecture Search on Target Task and
Hardware, ICLR 2019.
"""

from __future__ import annotations

from typing import Any

import nni_bootstrap  # noqa: F401
import torch
from nni.nas.nn.pytorch import Cell, InputChoice, LayerChoice, ModelSpace, MutableModule
from nni.nas.oneshot.pytorch.strategy import no_default_hook

from .base import Differentiable
from .gates import GatedInput, GatedLayer
from .module import MixtureModule
from .sampling import Stream, generator_of
from .settings import ProxylessSettings

__all__ = ["Proxyless"]


class Proxyless(Differentiable):
    """Train one path of a mixture at a time, and its gates by Adam.

    Parameters are those of :class:`nni_magic.strategies.differentiable.base.Differentiable`, with
    :class:`nni_magic.strategies.differentiable.settings.ProxylessSettings`.
    """

    settings_class = ProxylessSettings
    settings: ProxylessSettings

    def default_mutation_hooks(self) -> list[Any]:
        return [_suppress, GatedLayer.mutate, GatedInput.mutate, no_default_hook]

    def mutate_model(self, model: Any) -> Any:
        if isinstance(model, ModelSpace):
            _check_gates(model)
        supernet = super().mutate_model(model)
        self._gates = [
            module for module in self.mixture.modules()
            if isinstance(module, (GatedLayer, GatedInput))
        ]  # fmt: skip
        return supernet

    def before_step(self, module: MixtureModule) -> None:
        """Draw the path of the step."""
        generator = generator_of(module.seed, Stream.PATHS, module.trainer.global_step)
        theta = self.architecture.theta()
        drawn = {
            label: int(torch.multinomial(each.double().cpu(), 1, generator=generator))
            for label, each in theta.items()
        }
        for gate in self._gates:
            gate.path = drawn[gate.label]


def _suppress(module: Any, *_: Any) -> bool | None:
    """Tell NNI that what is mixed already needs no other."""
    return True if isinstance(module, (GatedLayer, GatedInput)) else None


def _check_gates(space: ModelSpace) -> None:
    """Make sure that all choices are of one layer, or of one input."""
    for name, module in space.named_modules():
        single = isinstance(module, LayerChoice) or (
            isinstance(module, InputChoice) and module.n_chosen == 1
        )
        if isinstance(module, Cell) or (
            isinstance(module, MutableModule) and module.mutables and not single
        ):
            raise ValueError(
                f"{name!r} of {type(space).__name__} is a {type(module).__name__}; accepted by "
                "Proxyless are a LayerChoice, and an InputChoice of one input"
            )
