"""How long a training goes on the prediction loss alone before children are aligned."""

from __future__ import annotations

import math
from typing import Any

from ..supernet.epochs import epochs_left

__all__ = ["WarmStart", "share_of"]


class WarmStart:
    """The epochs before children are aligned.

    Parameters
    ----------
    given
        How many; by default :func:`share_of` those of the training, and the same where a run that
        is resumed goes on for longer than it was to.

    Attributes
    ----------
    epochs : int or None
        How many, since training started.
    """

    def __init__(self, given: int | None) -> None:
        self.given = given
        self.epochs: int | None = None

    def begin(self, trainer: Any) -> int:
        """Choose the epochs, when training starts.

        Raises
        ------
        ValueError
            If training ends before something is aligned.
        """
        total = trainer.current_epoch + epochs_left(trainer)
        if self.given is not None:
            self.epochs = self.given
        elif self.epochs is None:
            self.epochs = share_of(total)
        if total <= self.epochs and not trainer.fast_dev_run:
            raise ValueError(
                f"warmup_epochs is {self.epochs}; accepted are less than {total:.0f}, the epochs "
                "after which training ends, so that something is aligned"
            )
        return self.epochs


def share_of(epochs: float) -> int:
    """Epochs of a warm start: half of the training's; the paper's three, if it has no known end.

    Examples
    --------
    >>> share_of(100), share_of(5), share_of(2), share_of(1), share_of(float("inf"))
    (50, 2, 1, 0, 3)
    """
    return int(epochs // 2) if math.isfinite(epochs) else 3
