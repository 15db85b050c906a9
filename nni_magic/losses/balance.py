"""Watch that alignment does not take over a training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

__all__ = ["Balance"]

MANY_TIMES = 10
"""So many times the prediction loss is too much of the alignment term."""
MARGIN = 0.1
"""Share by which the prediction loss may exceed what it was when alignment began."""


class Balance:
    """Tells, once, when alignment takes over: by the means of an epoch.

    Either the weighted term is many times the prediction loss, or the prediction loss is higher
    than when alignment began: than in the last epoch before, or in the first one with it.

    Parameters
    ----------
    weight
        λ, the weight of the term.
    """

    def __init__(self, weight: float) -> None:
        self.weight = weight
        self.start: float | None = None
        self.told = False
        self._begin_epoch()

    def _begin_epoch(self) -> None:
        self._sums = torch.zeros(4)  # of losses and terms, and how many of each are in them
        self._steps = self._aligned = 0

    def add(self, loss: Tensor, term: Tensor | None) -> None:
        """Add a step: its prediction loss, and the alignment term if there is one; scalars.

        A step that is not finite is left out of the means, as it is left out of the training.
        """
        # Summed where they are: a number of Python's would wait for the device at every step.
        sums, zero, one = self._sums.to(loss.device), loss.new_zeros(()), loss.new_ones(())
        pairs = [loss, zero, one, zero] if term is None else [loss, term, one, one]
        step = torch.stack(pairs).detach()  # or it would hold the graphs of all steps
        self._sums = sums + torch.where(step.isfinite().all(), step, 0)
        self._steps += 1
        self._aligned += term is not None

    def end_epoch(self) -> str | None:
        """End an epoch; say what goes wrong, if it is the first time that something does."""
        steps, aligned = self._steps, self._aligned
        loss, term = (self._sums[:2] / self._sums[2:]).tolist()  # no number where none was finite
        self._begin_epoch()
        if not steps:
            return None
        wrong = self._wrong(loss, self.weight * term) if aligned else None
        if math.isfinite(loss) and (self.start is None or not aligned):
            self.start = loss
        if wrong is None or self.told:
            return None
        self.told = True
        return wrong

    def _wrong(self, loss: float, term: float) -> str | None:
        if not abs(term) <= MANY_TIMES * abs(loss):  # also if it is not a number
            return f"times the weight it was {term:.3g}, beside a prediction loss of {loss:.3g}"
        start = self.start
        if start is not None and not loss <= start + MARGIN * abs(start):
            return f"the prediction loss rose to {loss:.3g}, from {start:.3g} when alignment began"
        return None

    def state_dict(self) -> dict[str, Any]:
        """All that is needed to go on within an epoch."""
        return {
            "start": self.start, "told": self.told, "sums": self._sums.tolist(),
            "steps": self._steps, "aligned": self._aligned,
        }  # fmt: skip

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where :meth:`state_dict` was taken."""
        self.start, self.told = state["start"], state["told"]
        self._sums = torch.tensor(state["sums"])
        self._steps, self._aligned = state["steps"], state["aligned"]
