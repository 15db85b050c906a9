r"""In-place distillation: the first child of a step teaches the others on the same batch.

.. math::
    L_{KD} = -T^2 \sum_c p_c \log q_c \quad [Yu2020], \qquad
    D_\alpha(p \| q) = \frac{1}{\alpha (\alpha - 1)} \sum_c q_c
        \left[ \left( \frac{p_c}{q_c} \right)^\alpha - 1 \right] \quad [Wang2021]

=============  =================================================================================
:math:`p`      the teacher's probabilities, of the first turn of a step, without gradient
:math:`q`      the student's, of a later turn; both of logits divided by the temperature T
:math:`c`      classes, the last dimension of the model's output
=============  =================================================================================

With :math:`\alpha = 1` the divergence is :math:`KL(p \| q)`, with 0 :math:`KL(q \| p)`, their
limits. All turns of a step draw the same random numbers, so that teacher and student see the same
inputs, masks and all.

[Yu2020] Yu et al., BigNAS: Scaling Up Neural Architecture Search with Big Single-Stage Models.
[Wang2021] Wang et al., AlphaNet: Improved Training of Supernets with Alpha-Divergence.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from ..supernet.hidden_states import Call
from ..supernet.step import Step, Turn
from ..support.names import MASK_ARGUMENT
from .padding import PaddingMask
from .term import LossTerm, TrainingSupernet

__all__ = ["Distillation", "adaptive_divergence", "alpha_divergence", "soft_cross_entropy"]

LIMIT = 1e-3
"""How near α may come to 0 and 1, where the formula divides by nearly nothing."""

Divergence = Callable[[Tensor, Tensor], Tensor]
"""From the student's and the teacher's logits, ``(..., classes)``, a value each, ``(...)``."""


def soft_cross_entropy(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """Cross-entropy with the teacher's probabilities [Yu2020], in float32.

    Parameters
    ----------
    student, teacher
        Logits, ``(..., classes)``; no gradient flows into the teacher's.
    temperature
        T. The factor of its square keeps the size of the gradient.

    Returns
    -------
    Tensor
        ``(...)``.

    Examples
    --------
    >>> soft_cross_entropy(torch.zeros(1, 4), torch.tensor([[9.0, 0, 0, 0]]))
    tensor([1.3863])
    """
    probabilities = (teacher.detach().float() / temperature).softmax(-1)
    log_probabilities = (student.float() / temperature).log_softmax(-1)
    return -(temperature**2) * (probabilities * log_probabilities).sum(-1)


def alpha_divergence(
    student: Tensor, teacher: Tensor, alpha: float, ratio_clip: float = math.inf
) -> Tensor:
    r"""α-divergence of the student from the teacher [Wang2021], in float32.

    With :math:`f(t) = (t^\alpha - 1) / (\alpha (\alpha - 1))` and :math:`t = p / q` the gradient is
    :math:`-\sum_c q_c \rho_c \nabla \log q_c`, where :math:`\rho = t f'(t) - f(t)`, which is
    :math:`t^\alpha / \alpha` and a constant.

    Parameters
    ----------
    student, teacher
        Logits, ``(..., classes)``; no gradient flows into the teacher's.
    alpha
        α; within ``LIMIT`` of 0 and 1 the limit is taken.
    ratio_clip
        β, the most that :math:`t^\alpha` counts, in the value and in the gradient; of the limit 0
        the most that :math:`t` counts. The limit 1 is not clipped: its gradient is bounded.

    Returns
    -------
    Tensor
        ``(...)``.

    Examples
    --------
    >>> alpha_divergence(torch.zeros(1, 2), torch.zeros(1, 2), alpha=-1.0)
    tensor([0.])
    """
    log_q = student.float().log_softmax(-1)
    with torch.no_grad():
        q, log_p = log_q.exp(), teacher.float().log_softmax(-1)
        log_ratio = log_p - log_q
        if abs(alpha - 1) < LIMIT:
            rho = log_ratio.exp()
            value = (log_p.exp() * log_ratio).sum(-1)
        elif abs(alpha) < LIMIT:
            rho = log_ratio.clamp(max=math.log(ratio_clip))
            value = -(q * rho).sum(-1)
        else:
            power = (alpha * log_ratio).exp().clamp(max=ratio_clip)
            rho = power / alpha
            value = (q * (power - 1)).sum(-1) / (alpha * (alpha - 1))
    with_gradient = -(q * rho * log_q).sum(-1)
    return with_gradient + (value - with_gradient).detach()


def adaptive_divergence(
    student: Tensor, teacher: Tensor, alpha_min: float, alpha_max: float, ratio_clip: float
) -> Tensor:
    """The larger one of two α-divergences, row by row [Wang2021]; arguments as for one."""
    low, high = (
        alpha_divergence(student, teacher, alpha, ratio_clip) for alpha in (alpha_min, alpha_max)
    )
    return torch.where(low > high, low, high)


class Distillation(LossTerm):
    """The distillation term: of every turn of a step but the first, whose child is the teacher.

    Parameters
    ----------
    divergence
        Of a student from the teacher.
    weight
        Factor of the term.
    mask_argument
        Name of the argument of the model's ``forward`` that is the padding mask, nonzero where
        real. Where the logits have the mask's positions, padding is left out.
    """

    name = "distillation_loss"

    def __init__(
        self,
        divergence: Divergence,
        *,
        weight: float = 1.0,
        mask_argument: str | None = MASK_ARGUMENT,
    ) -> None:
        self.divergence = divergence
        self.weight = weight
        self.mask_argument = mask_argument

    def begin(self, module: TrainingSupernet) -> None:
        self._mask = PaddingMask(module.model, self.mask_argument)
        self._taught: Step | None = None

    def __call__(self, step: Step, turn: Turn) -> Tensor | None:
        """The term of a turn, averaged over the model's calls: a scalar in float32.

        Where the evaluator skips the batch for the teacher, no child learns from it.

        Raises
        ------
        ValueError
            If the training step does not call the model, or calls it for one child more often than
            for another, or the model's outputs are no logits.
        """
        if turn is step.turns[0]:
            self._taught = step
        if self._taught is not step:  # the first calls are another child's
            return None
        teacher, calls = step.calls[0], step.calls[-1]
        if not calls or len(calls) != len(teacher):
            raise ValueError(
                f"the training step calls the model {len(calls)} times for a child, and "
                f"{len(teacher)} times for its teacher; accepted are as many for each, at least one"
            )
        pairs = [
            (_logits(call.output), _logits(other.output), call)
            for call, other in zip(calls, teacher, strict=True)
        ]
        if len(step.calls) == 1:
            return None
        return torch.stack([self._mean(*pair) for pair in pairs]).mean()

    def _mean(self, student: Tensor, teacher: Tensor, call: Call) -> Tensor:
        if student.shape != teacher.shape:
            raise ValueError(
                f"the logits are {tuple(student.shape)} for a child, and {tuple(teacher.shape)} "
                "for its teacher; accepted are children with outputs of one shape"
            )
        values = self.divergence(student, teacher)
        mask = self._mask(call)
        if mask is None or mask.shape != values.shape:  # logits of chosen positions alone
            return values.mean()
        weight = (mask != 0).float()
        return (values * weight).sum() / weight.sum().clamp(min=1)


def _logits(output: Any) -> Tensor:
    """The logits in what a model gives: a tensor, or what it names ``logits``."""
    found = output.get("logits") if isinstance(output, Mapping) else output
    found = getattr(found, "logits", found)
    if not isinstance(found, Tensor) or not found.is_floating_point():
        raise ValueError(
            f"the model's output is a {type(output).__name__}, which cannot be distilled; accepted "
            "are logits, or what holds them as 'logits'"
        )
    if found.ndim not in (2, 3) or found.shape[-1] < 2:
        raise ValueError(
            f"the model's output is {tuple(found.shape)}, which cannot be distilled; accepted are "
            "logits of (batch, classes) or (batch, position, classes), and at least two classes"
        )
    return found
