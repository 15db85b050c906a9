r"""How far a hidden state is from the one that it is aligned with.

==============  ==============================  =============================================
``mse``         :math:`mean((H - T)^2)`         the paper's [Xu2022, Eq. 1]
``relative``    :math:`mean((H - T)^2) / s`     its share of the states' own size
``cosine``      :math:`1 - \cos(H, T)`          direction alone; the mean over examples
==============  ==============================  =============================================

H is a child's state and T the target's. The size s is the mean of :math:`mean(H^2)` and
:math:`mean(T^2)`, and has no gradient: so the error weighs a layer alike whatever the scale of its
states, lies between 0 and 4, and nothing is gained by making states larger or smaller.

[Xu2022] Xu et al., Analyzing and Mitigating Interference in Neural Architecture Search.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["STATE_ERRORS", "cosine_distance", "mean_squared_error", "relative_error"]

_TINY = torch.finfo(torch.float32).tiny

StateError = Callable[[Tensor, Tensor, Tensor | None], Tensor]


def mean_squared_error(target: Tensor, state: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean of the squared differences.

    Parameters
    ----------
    target, state
        Hidden states of one shape, ``(batch, ...)``.
    mask
        Nonzero where a position is real; its shape is the leading dimensions of the states.

    Returns
    -------
    Tensor
        A scalar.

    Examples
    --------
    >>> mean_squared_error(torch.zeros(2, 3), torch.full((2, 3), 2.0))
    tensor(4.)
    """
    return _mean((state - target).square(), mask)


def relative_error(target: Tensor, state: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean squared error as a share of the states' mean square; see :func:`mean_squared_error`.

    Examples
    --------
    >>> relative_error(torch.zeros(2, 3), torch.full((2, 3), 2.0))
    tensor(2.)
    >>> relative_error(torch.full((2, 3), 1e6), torch.full((2, 3), 1e6))
    tensor(0.)
    """
    size = (_mean(state.square(), mask) + _mean(target.square(), mask)).detach() / 2
    return mean_squared_error(target, state, mask) / size.clamp(min=_TINY)


def cosine_distance(target: Tensor, state: Tensor, mask: Tensor | None = None) -> Tensor:
    """One minus the cosine of each example's states; see :func:`mean_squared_error`.

    Examples
    --------
    >>> cosine_distance(torch.ones(2, 3), torch.full((2, 3), 2.0)).round(decimals=5)
    tensor(0.)
    """
    if mask is not None:
        real = _weight(mask, state)
        target, state = target * real, state * real
    cosines = torch.cosine_similarity(target.flatten(1), state.flatten(1))
    return 1 - cosines.mean()


def _mean(values: Tensor, mask: Tensor | None) -> Tensor:
    """Mean over the real positions."""
    if mask is None:
        return values.mean()
    weight = (mask != 0).to(values.dtype)
    per_position = values.reshape(*mask.shape, -1).mean(-1)
    return (per_position * weight).sum() / weight.sum().clamp(min=1)


def _weight(mask: Tensor, state: Tensor) -> Tensor:
    """1 where real, 0 elsewhere; of as many dimensions as the state."""
    real = (mask != 0).to(state.dtype)
    return real.reshape(*mask.shape, *[1] * (state.dim() - mask.dim()))


STATE_ERRORS: dict[str, StateError] = {
    "mse": mean_squared_error, "relative": relative_error, "cosine": cosine_distance,
}  # fmt: skip
"""The errors by name."""
