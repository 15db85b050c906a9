"""Children of a supernet as NNI's strategies list them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nni.mutable import Sample
from nni.nas.space import RawFormatModelSpace
from torch import nn

from ..supernet.calibration import tracking_norms

__all__ = ["listed"]


class _CalibratedModel(RawFormatModelSpace):
    """A model that is made, with BatchNorm statistics of its own, when it is asked for."""

    make: Callable[[Sample], nn.Module]

    def executable_model(self) -> Any:
        return self.make(self.sample)


def listed(
    space: RawFormatModelSpace,
    sample: Sample,
    score: float,
    calibrated: Callable[[Sample], nn.Module],
) -> RawFormatModelSpace:
    """Freeze a space to a child, with its score as ``metric``.

    Parameters
    ----------
    space
        What the strategy was given.
    sample, score
        The child.
    calibrated
        Makes the stand-alone child of a sample, for a space with BatchNorm; see
        :meth:`nni_magic.scoring.scorer.Scorer.child`. Without BatchNorm it is not used: NNI freezes
        the space as it always does.
    """
    model = space.freeze(sample)
    if tracking_norms([space.model_space]):
        frozen, model = model, _CalibratedModel(model.model_space, model.evaluator)
        model.sample, model.status, model.make = sample, frozen.status, calibrated
    model.metrics.final = score
    return model
