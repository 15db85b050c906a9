r"""What a child may imitate of a teacher that was trained before: three terms.

.. math::
    L_{logits} = T^2 \sum_c p_c \log \frac{p_c}{q_c} \quad [Hinton2015], \qquad
    L_{hidden} = mean((W H_m - H^{teacher}_{g(m)})^2) \quad [Jiao2020], \qquad
    L_{relations} = KL(R^{teacher} \| R), \;
        R = softmax(A A^\top / \sqrt{d}) \quad [Wang2021]

===================  ===========================================================================
:math:`p, q`         probabilities of the teacher and the child at the tokens that are predicted,
                     of logits divided by the temperature T
:math:`W`            a linear map with bias, trained with the child, from its width to the
                     teacher's; one for all layers
:math:`g`            see :func:`nni_magic.losses.layer_maps.layer_map`
:math:`A`            queries, keys or values of the last layer with attention, split anew into
                     relation heads of width d; the mean over the three
===================  ===========================================================================

All are means: over real places, layers and heads. What is compared are places, ``(batch, place,
width)``: tokens where both have one vocabulary, or else words, whose tokens' states are averaged.

A child without attention has no queries, keys or values: then R is of the last hidden states of
both. Differences from the papers: [Jiao2020] sums over layers, and also imitates embeddings and
attention scores; [Wang2021] pads its rows no further than needed and does not say how.

[Hinton2015] Hinton et al., Distilling the Knowledge in a Neural Network.
[Jiao2020] Jiao et al., TinyBERT: Distilling BERT for Natural Language Understanding.
[Wang2021] Wang et al., MiniLMv2: Multi-Head Self-Attention Relation Distillation for Compressing
Pretrained Transformers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..supernet.resume import isolated_randomness
from .layer_maps import LayerPairs

__all__ = [
    "HiddenImitation", "LogitImitation", "Reading", "RelationImitation",
    "logit_divergence", "relation_divergence", "relation_heads",
]  # fmt: skip

LEAST_WIDTH = 8
"""The narrowest relation head that is chosen where none is given; MiniLMv2's are 8 to 16 wide."""


@dataclass
class Reading:
    """What a model makes of a batch of texts.

    Parameters
    ----------
    hidden
        Hidden states by the number of the layer, from 1, each ``(batch, place, width)``.
    attention
        Queries, keys and values of the last layer with attention, each ``(batch, place, width)``;
        nothing if there is none.
    logits
        Of the tokens that are predicted, ``(n, vocabulary)``.
    """

    hidden: Mapping[int, Tensor] = field(default_factory=dict)
    attention: Sequence[Tensor] = ()
    logits: Tensor | None = None

    @property
    def last(self) -> Tensor:
        """The last hidden state."""
        return self.hidden[max(self.hidden)]


def logit_divergence(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """Kullback-Leibler divergence from the teacher's probabilities [Hinton2015], in float32.

    Parameters
    ----------
    student, teacher
        Logits, ``(..., classes)``.
    temperature
        T; the factor of its square keeps the size of the gradient.

    Returns
    -------
    Tensor
        ``(...)``.

    Examples
    --------
    >>> logit_divergence(torch.zeros(1, 4), torch.tensor([[9.0, 0, 0, 0]]))
    tensor([1.3826])
    """
    log_p = (teacher.detach().float() / temperature).log_softmax(-1)
    log_q = (student.float() / temperature).log_softmax(-1)
    return temperature**2 * F.kl_div(log_q, log_p, reduction="none", log_target=True).sum(-1)


def relation_heads(widths: Sequence[int], given: int | None = None) -> int:
    """Choose the number of relation heads, so that every width can be split.

    Parameters
    ----------
    widths
        Of queries, keys and values, of the teacher and of all children.
    given
        The number that is wanted; by default the largest one whose heads are at least
        ``LEAST_WIDTH`` wide, or 1.

    Raises
    ------
    ValueError
        If the given number does not divide a width.

    Examples
    --------
    >>> relation_heads([384, 64]), relation_heads([1024, 768]), relation_heads([7, 64])
    (8, 64, 1)
    """
    if given is not None:
        if wrong := [width for width in widths if width % given]:
            raise ValueError(
                f"relation_heads is {given}; accepted are divisors of the widths of attention, "
                f"{sorted(set(widths))}, and {wrong[0]} is no multiple of it"
            )
        return given
    common, most = math.gcd(*widths), min(widths) // LEAST_WIDTH
    return max((n for n in range(1, most + 1) if common % n == 0), default=1)


def relation_divergence(student: Tensor, teacher: Tensor, heads: int, real: Tensor) -> Tensor:
    """Divergence of a child's relations among places from a teacher's [Wang2021], a scalar.

    Parameters
    ----------
    student, teacher
        Queries, keys or values, ``(batch, place, width)``, of widths that may differ.
    heads
        Relation heads, which divide both widths.
    real
        ``(batch, place)``, true where a place is real.

    Examples
    --------
    >>> states = torch.randn(2, 3, 8)
    >>> relation_divergence(states, states, 2, torch.ones(2, 3, dtype=torch.bool))
    tensor(0.)
    """
    log_p = _log_relations(teacher.detach(), heads, real)
    log_q = _log_relations(student, heads, real)
    pairs = real[:, None, None, :]  # no probability goes to what is not there
    divergence = (log_p.exp() * (log_p - log_q)).masked_fill(~pairs, 0.0)
    return _mean(divergence.sum(-1).mean(1), real)


def _log_relations(states: Tensor, heads: int, real: Tensor) -> Tensor:
    """Logarithms of relations, ``(batch, heads, place, place)``, in float32."""
    split = states.float().unflatten(-1, (heads, -1)).transpose(1, 2)
    scores = split @ split.transpose(-1, -2) / math.sqrt(split.shape[-1])
    absent = ~real[:, None, None, :]
    return scores.masked_fill(absent, torch.finfo(scores.dtype).min).log_softmax(-1)


def _mean(values: Tensor, real: Tensor) -> Tensor:
    """Mean over real places, of ``(batch, place)``; 0 if there is none."""
    return torch.where(real, values, 0.0).sum() / real.sum().clamp(min=1)


class LogitImitation(nn.Module):
    """Imitate the logits of the tokens that are predicted; it has no weights.

    Parameters
    ----------
    temperature
        T.
    """

    def __init__(self, temperature: float = 1.0) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, student: Reading, teacher: Reading, real: Tensor) -> Tensor:
        """The term of a batch; a scalar, 0 where nothing is predicted."""
        assert student.logits is not None
        assert teacher.logits is not None
        values = logit_divergence(student.logits, teacher.logits, self.temperature)
        return values.sum() / max(1, len(values))


class HiddenImitation(nn.Module):
    """Imitate hidden states, through a map from the child's width to the teacher's.

    Parameters
    ----------
    pairs
        From :func:`~nni_magic.losses.layer_maps.layer_map`.
    width, teacher_width
        Of the hidden states.
    seed
        Of the map's first weights; the random generators stay as they are.
    """

    def __init__(self, pairs: LayerPairs, width: int, teacher_width: int, seed: int) -> None:
        super().__init__()
        self.pairs = pairs
        with isolated_randomness():
            torch.manual_seed(seed)
            self.project = nn.Linear(width, teacher_width)

    def forward(self, student: Reading, teacher: Reading, real: Tensor) -> Tensor:
        """The mean over pairs of layers of the squared errors."""
        return torch.stack([self._error(student.hidden[m], teacher.hidden[n], real)
                            for m, n in self.pairs]).mean()  # fmt: skip

    def _error(self, student: Tensor, teacher: Tensor, real: Tensor) -> Tensor:
        with torch.autocast(student.device.type, enabled=False):
            mapped = self.project(student.to(self.project.weight.dtype))
        return _mean((mapped - teacher.detach().to(mapped.dtype)).square().mean(-1), real)


class RelationImitation(nn.Module):
    """Imitate the relations among places; it has no weights.

    Parameters
    ----------
    heads
        From :func:`relation_heads`.
    """

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.heads = heads

    def forward(self, student: Reading, teacher: Reading, real: Tensor) -> Tensor:
        """The mean of the divergences of queries, keys and values; or that of hidden states."""
        pairs = list(zip(student.attention, teacher.attention, strict=False))
        if not pairs:
            pairs = [(student.last, teacher.last)]
        with torch.autocast(real.device.type, enabled=False):
            return torch.stack([relation_divergence(*pair, self.heads, real)
                                for pair in pairs]).mean()  # fmt: skip
