"""ShiftNAS [Zhang2023]: groups of children by cost, the one that lags is drawn more often.

[Zhang2023] Zhang et al., ShiftNAS: Improving One-shot NAS via Probability Shift.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from nni.mutable import LabeledMutable, Mutable, Sample

from ..children.costs import CostSum
from ..supernet.step import Step
from ..support.errors import check_count, check_number
from .cost_groups import CostGroups
from .extremes import cost_range
from .uniform import UniformSampler

__all__ = ["ShiftedSampler", "shifted"]

MOMENTUM = 0.9
"""Of a group's mean loss over the steps that trained a child of it."""


def shifted(losses: Sequence[float], temperature: float) -> np.ndarray:
    r"""Probabilities of groups in order of cost, by how far each lags [Zhang2023].

    .. math:: p_g \propto \exp \left( \frac{d_g}{\tau \bar l} \right), \qquad
              d_g = l_g - \frac{l_{g-1} + l_{g+1}}{2}, \quad d_1 = -d_2, \quad d_G = -d_{G-1}

    Parameters
    ----------
    losses
        Mean loss :math:`l_g` of every group that has children, cheapest first.
    temperature
        τ.

    Returns
    -------
    numpy.ndarray
        They sum to 1. :math:`d_g` is how far a group lags behind its neighbours; at an end, how far
        the one neighbour is ahead of the line between it and the next. :math:`\bar l` is the mean
        of all groups' absolute losses. With fewer than three groups nothing lags.

    Examples
    --------
    >>> shifted([4.0, 3.0, 2.0, 1.0], 0.1)
    array([0.25, 0.25, 0.25, 0.25])
    >>> shifted([4.0, 3.5, 2.0], 0.1).round(3)
    array([0.039, 0.922, 0.039])
    """
    own = np.asarray(losses, dtype=float)
    if len(own) < 3:
        return np.full(len(own), 1 / len(own))
    lag = own[1:-1] - (own[:-2] + own[2:]) / 2
    lag = np.concatenate([-lag[:1], lag, -lag[-1:]])
    lag /= temperature * (np.abs(own).mean() or 1.0)
    weights = np.exp(lag - lag.max())
    return weights / weights.sum()


class ShiftedSampler(UniformSampler):
    """Draws a group of children by :func:`shifted`, then a uniform child of it [Zhang2023].

    Until a child of every group was trained the groups have the same probability; groups without
    children have none.

    Parameters
    ----------
    space, seed, filter
        See :class:`nni_magic.samplers.base.Sampler`.
    cost
        By which children are in groups.
    n_groups
        How many, of equal width between the costs of the smallest and the largest valid child.
    temperature
        τ; the smaller, the more often a group that lags is drawn.

    Raises
    ------
    ValueError
        If all children cost the same.
    """

    watches_losses = True

    def __init__(
        self,
        space: Mutable | Mapping[str, LabeledMutable],
        *,
        seed: int | Sequence[int],
        filter: Any = None,
        cost: CostSum,
        n_groups: int = 8,
        temperature: float = 0.1,
    ) -> None:
        check_count("cost_groups", n_groups, at_least=2)
        check_number("shift_temperature", temperature, above=0)
        super().__init__(space, seed=seed, filter=filter)
        self.temperature = temperature
        self.groups = CostGroups(cost, cost_range(self, cost), n_groups)

    def reset(self, seed: int | Sequence[int]) -> None:
        super().reset(seed)
        self.losses: dict[int, float] = {}
        self._filled: tuple[Any, list[int]] | None = None

    @property
    def filled(self) -> list[int]:
        """Groups that have valid children, found anew after deletions."""
        if self._filled is None or self._filled[0] is not self.candidates:
            rng = np.random.default_rng(0)  # the sampler's own draws children alone
            found = [
                group for group in range(self.groups.n_groups)
                if self.groups.draw(group, self.candidates, rng, self.allows, self.tries)
            ]  # fmt: skip
            self._filled = self.candidates, found
        return self._filled[1]

    @property
    def probabilities(self) -> dict[int, float]:
        """How often each group is drawn."""
        filled = self.filled
        if any(group not in self.losses for group in filled):
            return dict.fromkeys(filled, 1 / len(filled))
        own = shifted([self.losses[group] for group in filled], self.temperature)
        return dict(zip(filled, own.tolist(), strict=True))

    def propose(self) -> Sample:
        """Draw a group, then a child."""
        chances = self.probabilities
        if not chances:
            return self.draw(self.candidates)  # rejected, as no child is valid
        group = list(chances)[self._rng.choice(len(chances), p=list(chances.values()))]
        child = self.groups.draw(group, self.candidates, self._rng, self.allows, self.tries)
        return self.draw(self.candidates) if child is None else child

    def tell(self, step: Step) -> None:
        """Learn the losses of the children that were trained; finite ones, as others stay."""
        for turn, loss in zip(step.turns, step.losses, strict=False):  # fewer: skipped batches
            group, value = self.groups.of(turn.child), float(loss)
            if not math.isfinite(value):  # the step is left out when its last batch is over
                continue
            self.losses[group] = MOMENTUM * self.losses.get(group, value) + (1 - MOMENTUM) * value

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "losses": dict(self.losses)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self.losses = dict(state["losses"])
