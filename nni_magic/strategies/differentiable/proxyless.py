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
torch's global generator, compute all candidates behind every step of the weights, and take and give
tensors alone: here the child of the largest weights is exported, draws are told by seed and step, a
step of the weights computes one path, and layers may be called with keywords, and take and give
tuples, lists and dicts that hold tensors.

Differences from the paper: it compares two drawn candidates in a step of the architecture, and here
all are compared, as in NNI. Both steps of a turn take the same path. Validation is of the path of
the largest weights. A depth cannot be chosen, and neither can layers' arguments or inputs of a
``Cell``.

[Cai2019] Cai, Zhu and Han, ProxylessNAS: Direct Neural Architecture Search on Target Task and
Hardware, ICLR 2019.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import nni_bootstrap  # noqa: F401
import torch
from nni.nas.nn.pytorch import Cell, InputChoice, LayerChoice, ModelSpace, MutableModule
from nni.nas.oneshot.pytorch.strategy import no_default_hook
from nni.nas.oneshot.pytorch.supermodule.differentiable import (
    DifferentiableMixedInput,
    DifferentiableMixedLayer,
)
from nni.nas.oneshot.pytorch.supermodule.proxyless import (
    ProxylessMixedInput,
    ProxylessMixedLayer,
    _ProxylessFunction,
)
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from .base import Differentiable
from .module import MixtureModule
from .sampling import Stream, generator_of
from .settings import ProxylessSettings

__all__ = ["Proxyless"]


class GatedLayer(ProxylessMixedLayer):
    """NNI's, with the path that the strategy sets."""

    def take(self, index: int) -> None:
        """Set the path."""
        self.path = index
        self.resample({self.label: self.names[index]})

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return _gated(self, (args, kwargs), self._call)

    def _call(self, index: int, given: Any) -> Any:
        args, kwargs = given
        return self.forward_path(index, *args, **kwargs)

    def export(self, memo: dict[str, Any]) -> Any:
        return DifferentiableMixedLayer.export(self, memo)


class GatedInput(ProxylessMixedInput):
    """NNI's, with the path that the strategy sets."""

    def take(self, index: int) -> None:
        """Set the path."""
        self.path = index
        self.resample({self.label: [index]})

    def forward(self, inputs: Any) -> Any:
        return _gated(self, inputs, lambda index, given: given[index])

    def export(self, memo: dict[str, Any]) -> Any:
        return DifferentiableMixedInput.export(self, memo)


def _gated(
    gate: GatedLayer | GatedInput, given: Any, of_path: Callable[[int, Any], Any]
) -> Any:
    """What the gate's path gives, through which the architecture parameters have a gradient.

    Parameters
    ----------
    gate
        Holds the architecture parameters and the path.
    given
        What all candidates are given: tensors in tuples, lists and dicts.
    of_path
        Computes a candidate, given its number and what it is given.
    """
    alpha = gate._arch_alpha
    if not gate.training:
        return of_path(int(alpha.argmax()), given)
    if not alpha.requires_grad:
        return of_path(gate.path, given)
    leaves, form = tree_flatten(given)
    tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
    others = [None if isinstance(leaf, Tensor) else leaf for leaf in leaves]
    places = [place for place, leaf in enumerate(leaves) if isinstance(leaf, Tensor)]
    device = alpha.device.type
    autocast = partial(
        torch.autocast, device, torch.get_autocast_dtype(device), torch.is_autocast_enabled(device)
    )

    def outputs_of(index: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        # The other candidates are computed in the backward pass, where autocast is over.
        here = list(others)
        for place, tensor in zip(places, tensors, strict=True):
            here[place] = tensor
        with autocast():
            found, _ = tree_flatten(of_path(index, tree_unflatten(here, form)))
        return tuple(leaf for leaf in found if _has_gradient(leaf))

    found, form_found = tree_flatten(of_path(gate.path, given))
    through = _ProxylessFunction.apply(
        outputs_of, gate.path, len(tensors), gate._softmax, alpha,
        *tensors, *(leaf for leaf in found if _has_gradient(leaf)),
    )  # fmt: skip
    # Copies, as layers behind may change them in place, and the originals are needed to go back.
    gated = (each.clone() for each in (through if isinstance(through, tuple) else (through,)))
    return tree_unflatten(
        [next(gated) if _has_gradient(leaf) else leaf for leaf in found], form_found
    )


def _has_gradient(leaf: Any) -> bool:
    """Whether an output may have one: numbers of other kinds pass the gate by."""
    return isinstance(leaf, Tensor) and leaf.is_floating_point()


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
            gate.take(drawn[gate.label])


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
