r"""DropNAS: a mixture from which candidates are dropped, step by step, in two groups [Hong2020].

.. math::
    \theta_o = \frac{m_o \exp \alpha_o}{\sum_{o'} m_{o'} \exp \alpha_{o'}}, \qquad
    P(m_o = 0) = r^{1/n_g}

==================  ====================================================================
:math:`m_o`         0 if candidate o is dropped in this step. If all of a group were, the
                    group is drawn again
:math:`n_g`         candidates of o's group: those with weights of a block, or those without
:math:`r`           rises linearly, from epoch to epoch, to ``drop_rate`` in the last one
:math:`\alpha`      architecture parameters, trained by Adam on the batch of the weights
==================  ====================================================================

What is dropped stays as it is: its weights have no gradient and no decay, and its probability
without dropout does not change, as the others share theirs among them.

Differences from the paper: the authors' code has the same rate from the first epoch on. Candidates
of inputs, depths and layers' arguments are one group, and the one of NNI's ``Cell`` that stands for
no connection is with those without weights. With ``bilevel`` architecture parameters are trained on
the validation data.

[Hong2020] Hong et al., DropNAS: Grouped Operation Dropout for Differentiable Architecture Search,
IJCAI 2020.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, compress
from typing import Any

import nni_bootstrap  # noqa: F401
import torch
from nni.nas.oneshot.pytorch.supermodule.differentiable import (
    DifferentiableMixedCell,
    DifferentiableMixedLayer,
)
from torch import Tensor, nn

from ...supernet.epochs import epochs_in_all
from .base import Differentiable
from .module import MixtureModule
from .sampling import Stream, generator_of
from .settings import DropNASSettings

__all__ = ["AdamOfKept", "DropNAS", "Dropped", "draw_kept"]


class DropNAS(Differentiable):
    """Train a mixture from which candidates are dropped in groups, by Adam.

    Parameters are those of :class:`nni_magic.strategies.differentiable.base.Differentiable`, with
    :class:`nni_magic.strategies.differentiable.settings.DropNASSettings`.
    """

    settings_class = DropNASSettings
    settings: DropNASSettings

    def mutate_model(self, model: Any) -> Any:
        self._mixing = Dropped()
        supernet = super().mutate_model(model)
        self._weights = weights_of_candidates(self.mixture)
        self._frozen = [each for each in self.mixture.parameters() if not each.requires_grad]
        return supernet

    def configure_softmax(self) -> nn.Module:
        return self._mixing  # one for all choices

    def make_optimizer(self, parameters: Sequence[nn.Parameter]) -> AdamOfKept:
        rate = self.settings.arc_learning_rate
        return AdamOfKept(parameters, self._mixing, rate)

    def before_step(self, module: MixtureModule) -> None:
        """Draw what is dropped in the step, and let no gradient reach it."""
        rate, step = self._rate(module.trainer), module.trainer.global_step
        generator = generator_of(module.seed, Stream.DROPS, step)
        still = set(map(id, self._frozen))
        for label, parameter in self.architecture.by_label.items():
            weights = self._weights.get(label, [[] for _ in parameter])
            kept = draw_kept([int(bool(each)) for each in weights], rate, generator)
            self._mixing.keep(parameter, kept)
            still |= _ids(compress(weights, ~kept)) - _ids(compress(weights, kept))
        # At the end, as a candidate may hold a choice, and two candidates the same weights.
        for weight in chain.from_iterable(chain.from_iterable(self._weights.values())):
            weight.requires_grad_(id(weight) not in still)

    def _rate(self, trainer: Any) -> float:
        epochs = epochs_in_all(trainer)
        if epochs == math.inf:
            return self.settings.drop_rate
        return float(self.settings.drop_rate * (trainer.current_epoch + 1) / epochs)

    def _run(self) -> None:
        try:
            super()._run()
        finally:
            frozen = set(map(id, self._frozen))
            for weight in self.mixture.parameters():
                weight.requires_grad_(id(weight) not in frozen)


class Dropped(nn.Module):
    """Softmax of the candidates that are kept; in evaluation of all."""

    def __init__(self) -> None:
        super().__init__()
        self._kept: dict[int, Tensor] = {}

    def keep(self, parameter: Tensor, kept: Tensor) -> None:
        """Set what is kept of a parameter's candidates, ``(candidates,)`` of bool."""
        self._kept[id(parameter)] = kept.to(parameter.device)

    def kept(self, parameter: Tensor) -> Tensor:
        """What is kept; all, before something was set."""
        own = self._kept.get(id(parameter))
        return torch.ones_like(parameter, dtype=torch.bool) if own is None else own

    def forward(self, parameter: Tensor) -> Tensor:
        if self.training:
            parameter = parameter.masked_fill(~self.kept(parameter), -torch.inf)
        return parameter.softmax(-1)


class AdamOfKept(torch.optim.Adam):
    """Adam, with DARTS's settings, for the parameters of candidates that are kept.

    Those of the others stay; all kept ones are then moved alike, so that their probabilities
    together are what they were.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], mixing: Dropped, lr: float) -> None:
        super().__init__(parameters, lr, betas=(0.5, 0.999), weight_decay=1e-3)
        self._mixing = mixing

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        moving = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        before = [parameter.clone() for parameter in moving]
        result = super().step(closure)
        for parameter, old in zip(moving, before, strict=True):
            kept = self._mixing.kept(parameter)
            if not kept.all():
                back = torch.logsumexp(old[kept], 0) - torch.logsumexp(parameter[kept], 0)
                parameter.copy_(torch.where(kept, parameter + back, old))
        return result


def draw_kept(groups: Sequence[int], rate: float, generator: torch.Generator) -> Tensor:
    """Draw which candidates are kept, ``(candidates,)``: of every group one at least.

    Parameters
    ----------
    groups
        Group of every candidate.
    rate
        r, in [0, 1).
    generator
        Of the draws.
    """
    kept = torch.zeros(len(groups), dtype=torch.bool)
    for group in sorted(set(groups)):
        own = torch.tensor([each == group for each in groups])
        n = int(own.sum())
        while not kept[own].any():
            kept[own] = torch.rand(n, generator=generator, dtype=torch.float64) >= rate ** (1 / n)
    return kept


def weights_of_candidates(mixture: nn.Module) -> dict[str, list[list[nn.Parameter]]]:
    """Label of a choice of operators, or of a cell's edge, to the weights of every candidate."""
    found: dict[str, list[list[nn.Parameter]]] = {}
    for label, candidates in _choices(mixture):
        own = found.setdefault(label, [[] for _ in candidates])
        for held, operator in zip(own, candidates, strict=True):
            named = operator.named_parameters()
            held.extend(weight for name, weight in named if "_arch_alpha" not in name)
    return found


def _ids(groups: Iterable[list[nn.Parameter]]) -> set[int]:
    return set(map(id, chain.from_iterable(groups)))


def _choices(mixture: nn.Module) -> Iterator[tuple[str, list[nn.Module]]]:
    for module in mixture.modules():
        if isinstance(module, DifferentiableMixedLayer):
            yield module.label, [module[name] for name in module.names]
        elif isinstance(module, DifferentiableMixedCell):
            for i, edges in enumerate(module.ops, start=module.num_predecessors):
                for j, edge in enumerate(edges):
                    # The last candidate stands for no connection.
                    yield f"{module.label}/{i}_{j}", [*edge.values(), nn.Identity()]
