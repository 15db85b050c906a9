"""Children of a supernet as NNI's strategies list them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nni.mutable import Sample
from nni.nas.space import RawFormatModelSpace
from torch import nn

__all__ = ["listed"]


class _InheritingModel(RawFormatModelSpace):
    """A model that is made, with weights and statistics of its own, when it is asked for."""

    make: Callable[[Sample], nn.Module]

    def executable_model(self) -> Any:
        return self.make(self.sample)


def listed(
    space: RawFormatModelSpace,
    sample: Sample,
    score: float,
    child: Callable[[Sample], nn.Module],
) -> RawFormatModelSpace:
    """Freeze a space to a child, with its score as ``metric``.

    Parameters
    ----------
    space
        What the strategy was given.
    sample, score
        The child.
    child
        Makes the stand-alone child that the score is of, when the model is asked for; see
        :meth:`nni_magic.scoring.scorer.Scorer.child`. NNI's own freezing of the space gives some
        children other weights.
    """
    frozen = space.freeze(sample)
    model = _InheritingModel(frozen.model_space, frozen.evaluator)
    model.sample, model.status, model.make = sample, frozen.status, child
    model.metrics.final = score
    return model
