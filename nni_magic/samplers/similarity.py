r"""How alike the candidates of a block are to the rest of a supernet.

.. math::
    \cos(g_i, g_j) = \frac{g_i \cdot g_j}{\|g_i\| \|g_j\|} \quad [Hu2022], \qquad
    \text{LID}(x) = - \left( \frac{1}{k} \sum_{i=1}^k \log \frac{r_i(x)}{r_k(x)} \right)^{-1}
    \quad [He2023]

Of two children that differ in one block alone, :math:`g` are the gradients of the weights that both
train. :math:`r_i(x)` is the distance of a row's hidden state to its i-th nearest one; the profile
of a child has the mean dimension of every block, and profiles are compared by their distance.

[Hu2022] Hu et al., Generalizing Few-Shot NAS with Gradient Matching, ICLR 2022.
[He2023] He et al., NAS-LID: Efficient Neural Architecture Search with Local Intrinsic Dimension,
AAAI 2023.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

__all__ = ["cosines", "intrinsic_dimension", "profile_similarity"]

NEIGHBOURS = 20
"""k, the nearest neighbours of a row; all others of a batch that has fewer."""


def cosines(gradients: Sequence[Sequence[Tensor | None]]) -> np.ndarray:
    """Cosines of gradients, pair by pair over the weights that both have.

    Parameters
    ----------
    gradients
        Of each child, a tensor or ``None`` for each weight, in one order.

    Returns
    -------
    numpy.ndarray
        ``(children, children)``; 0 where nothing is shared or a gradient is 0.
    """
    n = len(gradients)
    found = np.zeros((n, n))
    for i in range(n):
        for j in range(i, n):
            pairs = [
                (a.flatten().double(), b.flatten().double())
                for a, b in zip(gradients[i], gradients[j], strict=True)
                if a is not None and b is not None
            ]
            if pairs:
                a, b = (torch.cat(side) for side in zip(*pairs, strict=True))
                norm = float(a.norm() * b.norm())
                found[i, j] = found[j, i] = float(a @ b) / norm if norm else 0.0
    return found


def intrinsic_dimension(states: Tensor) -> float:
    """Mean local intrinsic dimension of the rows of a batch [He2023], by maximum likelihood.

    Parameters
    ----------
    states
        ``(rows, ...)``, of at least three rows.

    Raises
    ------
    ValueError
        If there are fewer.

    Examples
    --------
    >>> line = torch.arange(50.0)[:, None] * torch.ones(1, 8)
    >>> plane = torch.rand(400, 2, generator=torch.Generator().manual_seed(0)) @ torch.ones(2, 8)
    >>> intrinsic_dimension(line) < 1.5
    True
    """
    rows = states.detach().flatten(1).double()
    if len(rows) < 3:
        raise ValueError(
            f"a batch has {len(rows)} rows; accepted are at least 3, so that the distances between "
            "them give an intrinsic dimension"
        )
    distances = torch.cdist(rows, rows)
    distances.fill_diagonal_(torch.inf)
    nearest = distances.sort(1).values[:, : min(NEIGHBOURS, len(rows) - 1)]
    logs = (nearest / nearest[:, -1:]).clamp(min=1e-12).log().nan_to_num()
    means = -logs.mean(1)
    spread = means > 0  # rows whose neighbours are all as far have none
    return float((1 / means[spread]).mean()) if spread.any() else 0.0


def profile_similarity(profiles: Sequence[Mapping[str, float]]) -> np.ndarray:
    """Minus the distances of profiles, over the blocks that all of them have.

    >>> profile_similarity([{"a": 1.0, "b": 2.0}, {"a": 4.0, "b": 6.0}])[0, 1].item()
    -5.0
    """
    shared = sorted(set.intersection(*(set(profile) for profile in profiles)))
    values = np.array([[profile[name] for name in shared] for profile in profiles])
    return -np.linalg.norm(values[:, None] - values[None], axis=-1)
