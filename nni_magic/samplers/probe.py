"""What a sampler may ask of a training before it chooses the children of a step."""

from __future__ import annotations

from typing import Protocol

from nni.mutable import Sample
from torch import Tensor

__all__ = ["Probe"]


class Probe(Protocol):
    """Looks at children, with the weights as they are; changes nothing of the training.

    All but :meth:`reward` look on the step's first batch.

    Under DDP the answers are means over the processes, so that all choose alike.

    Attributes
    ----------
    progress : float
        Share of the training's optimizer steps that are made, from 0 to 1.
    epoch : int
        Epochs that are over.
    """

    @property
    def progress(self) -> float: ...

    @property
    def epoch(self) -> int: ...

    def __call__(self, child: Sample) -> float:
        """Loss of a child; not-a-number if the evaluator skips the batch."""
        ...

    def reward(self, child: Sample) -> float:
        """Score of a child on validation data, the larger the better; it is remembered."""
        ...

    def saliency(self, child: Sample) -> float:
        r"""Connection sensitivity of a child, :math:`\sum |w \, \partial L / \partial w|`."""
        ...

    def gradient(self, child: Sample) -> list[Tensor | None]:
        """Gradient of a child's loss for every weight of the supernet that it has."""
        ...

    def dimensions(self, child: Sample) -> dict[str, float]:
        """Mean local intrinsic dimension behind every module that chooses, by its name."""
        ...
