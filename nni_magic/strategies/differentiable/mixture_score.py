"""Score a mixture as it is, in the midst of its training."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from ...scoring.scorer import Scorer
from ...supernet.calibration import Calibrator
from .module import MixtureModule
from .settings import DifferentiableSettings

__all__ = ["MixtureScorer"]


class MixtureScorer(Scorer):
    """Scores a mixture as children are scored, with BatchNorm statistics of its own.

    Parameters
    ----------
    module
        The module that trains it.
    train, validation
        Give the loaders.
    settings
        Of the strategy: metric and numbers of batches.
    """

    def __init__(
        self,
        module: MixtureModule,
        train: Callable[[], Any],
        validation: Callable[[], Any],
        settings: DifferentiableSettings,
    ) -> None:
        super().__init__(
            module, metric=settings.metric, mode=settings.mode,
            n_batches=settings.validation_batches, loaders=validation(),
            calibrator=Calibrator(module, train, settings.calibration_batches),
        )  # fmt: skip

    def score(self) -> float:
        """Score it."""
        with self.module.whole_batches():
            return self({})

    @property
    def router(self) -> Any:
        """A mixture has no path to set."""
        return SimpleNamespace(set=lambda sample: None)
