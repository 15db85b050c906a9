"""PA&DA [Lu2023]: candidates are drawn by the gradient norms of the children that held them.

[Lu2023] Lu et al., PA&DA: Jointly Sampling PAth and DAta for Consistent NAS, CVPR 2023.
"""

from __future__ import annotations

import math
from bisect import bisect
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from nni.mutable import Sample
from numpy.typing import ArrayLike

from ..supernet.step import Step, Turn
from .base import Probe
from .uniform import UniformSampler

__all__ = ["WeightedSampler", "mixed"]


def mixed(norms: ArrayLike, weight: float) -> np.ndarray:
    r"""Probabilities that go from uniform to proportional [Lu2023].

    .. math:: p_i = \delta \frac{g_i}{\sum_j g_j} + (1 - \delta) \frac{1}{n}

    Parameters
    ----------
    norms
        Gradient norms :math:`g`, ``(n,)``; what is not a number counts as the mean of the others.
    weight
        δ, from 0 to 1.

    Returns
    -------
    numpy.ndarray
        ``(n,)``; uniform where all norms are 0 or none is known.

    Examples
    --------
    >>> mixed([1.0, 3.0], 0.5)
    array([0.375, 0.625])
    >>> mixed([1.0, 3.0, math.nan], 1.0).round(3)
    array([0.167, 0.5  , 0.333])
    """
    own = np.asarray(norms, dtype=float)
    known = own[np.isfinite(own)]
    uniform = np.full(len(own), 1 / len(own))
    if not known.any():
        return uniform
    own = np.where(np.isfinite(own), own, known.mean())
    return weight * own / own.sum() + (1 - weight) * uniform


class WeightedSampler(UniformSampler):
    """Draws candidates by the mean gradient norm of the children that held them [Lu2023].

    The probabilities of an epoch are those of :func:`mixed`, label by label, from the norms of the
    last epoch, with the share of the training that is over as weight. A candidate that no child has
    held since keeps its norm. The first epoch is uniform.

    Parameters are those of :class:`nni_magic.samplers.base.Sampler`.

    Attributes
    ----------
    norms : dict
        Label to the mean gradient norm of every candidate of the space, ``None`` if none is known.
    weight : float
        δ, of the present epoch.
    """

    watches_gradients = True

    def reset(self, seed: int | Sequence[int]) -> None:
        super().reset(seed)
        self.norms: dict[str, list[float | None]] = {
            label: [None] * len(choices) for label, choices in self._all.items()
        }
        self.weight = 0.0
        self._epoch = -1
        self._seen: dict[str, list[list[float]]] = self._nothing()
        self._cumulative: dict[str, list[float]] | None = None

    def _nothing(self) -> dict[str, list[list[float]]]:
        """Sum and number of the norms of an epoch for every candidate, so far none."""
        return {label: [[0.0, 0] for _ in choices] for label, choices in self._all.items()}

    def probabilities(self, label: str) -> np.ndarray:
        """Probabilities of a label's candidates in the present epoch, in their order."""
        norms = dict(zip(map(repr, self._all[label]), self.norms[label], strict=True))
        own = [norms[repr(choice)] for choice in self.candidates[label]]
        return mixed([math.nan if norm is None else norm for norm in own], self.weight)

    def propose(self) -> Sample:
        """Draw every label anew, by its probabilities."""
        if not self.weight:
            return super().propose()
        if self._cumulative is None:
            self._cumulative = {
                label: self.probabilities(label).cumsum()[:-1].tolist() for label in self.candidates
            }
        points = self._rng.random(len(self.candidates)).tolist()
        return {
            label: choices[bisect(self._cumulative[label], point)]
            for (label, choices), point in zip(self.candidates.items(), points, strict=True)
        }

    def turns(self, probe: Probe) -> list[Turn]:
        """The next child, by the probabilities of the present epoch."""
        if probe.epoch != self._epoch:
            self._begin(probe.epoch, probe.progress)
        return super().turns(probe)

    def _begin(self, epoch: int, weight: float) -> None:
        for label, seen in self._seen.items():
            known = zip(seen, self.norms[label], strict=True)
            self.norms[label] = [total / n if n else norm for (total, n), norm in known]
        self._epoch, self.weight, self._cumulative = epoch, weight, None
        self._seen = self._nothing()

    def tell(self, step: Step) -> None:
        """Take the norm of a step's gradient for all candidates that its child holds."""
        norm = math.nan if step.gradient_norm is None else float(step.gradient_norm)
        if not math.isfinite(norm):  # the optimizer has not stepped, or the step was left out
            return
        [turn] = step.turns
        for label in self.active_labels(turn.child):
            seen = self._seen[label][self._all[label].index(turn.child[label])]
            seen[0] += norm
            seen[1] += 1

    def restrict(self, allowed: Mapping[str, Collection[Any]]) -> None:
        super().restrict(allowed)
        self._cumulative = None

    def state_dict(self) -> dict[str, Any]:
        return {
            **super().state_dict(),
            "norms": {label: list(own) for label, own in self.norms.items()},
            "seen": {label: list(map(list, own)) for label, own in self._seen.items()},
            "epoch": self._epoch, "weight": self.weight,
        }  # fmt: skip

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self.norms = {label: list(own) for label, own in state["norms"].items()}
        self._seen = {label: list(map(list, own)) for label, own in state["seen"].items()}
        self._epoch, self.weight = state["epoch"], state["weight"]
        self._cumulative = None
