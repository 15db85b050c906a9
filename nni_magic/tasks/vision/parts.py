"""Images as a classifier takes them: normalised in batches, in the three parts of a data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import nni_bootstrap  # noqa: F401
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import v2

from .sources import FolderImages, ImageSource, Transform

__all__ = ["ImageData", "Images", "Statistics", "as_it_is"]


class Statistics(NamedTuple):
    """Mean and standard deviation of the training pixels, in [0, 1], by channel."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


class Images(Dataset):
    """Some images of a source, as a classifier takes them.

    A loader gets a whole batch at once, ``(images, labels)`` of ``(n, channels, height, width)``
    in ``float32`` and ``(n,)``; its ``collate_fn`` is :func:`as_it_is`.

    Parameters
    ----------
    source
        The images.
    indices
        Which of them, in this order.
    transform
        What every image goes through, from the source's to a ``uint8`` tensor.
    statistics
        Statistics by which they are normalised.
    """

    def __init__(
        self,
        source: ImageSource,
        indices: Sequence[int] | np.ndarray,
        transform: Transform,
        statistics: Statistics,
    ) -> None:
        self.source = source
        self.indices = np.asarray(indices)
        self.transform = transform
        self.normalise = v2.Compose(
            [v2.ToDtype(torch.float32, scale=True), v2.Normalize(*map(list, statistics))]
        )

    def __len__(self) -> int:
        """Count the images."""
        return len(self.indices)

    def __getitems__(self, positions: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Give a batch; it is normalised as one, because that is much quicker."""
        images, labels = self.source.read(self.indices[list(positions)], self.transform)
        return self.normalise(images), labels

    def __getitem__(self, position: int) -> tuple[Tensor, Tensor]:
        """Give one image and its label."""
        images, labels = self.__getitems__([position])
        return images[0], labels[0]

    @property
    def labels(self) -> Tensor:
        """All labels, ``(n,)``."""
        return self.source.labels[torch.as_tensor(self.indices)]

    @property
    def unreadable(self) -> list[str]:
        """Paths of the source's images that could not be read so far."""
        return self.source.names() if isinstance(self.source, FolderImages) else []


def as_it_is(batch: Any) -> Any:
    """Give a batch as :class:`Images` made it: the ``collate_fn`` of its loaders."""
    return batch


@dataclass(frozen=True)
class ImageData:
    """A data set in its three parts, which share no image.

    Parameters
    ----------
    name
        Name of the data set.
    classes
        Names of the classes, in the order of their labels.
    channels, resolution
        Of the images, the resolution in pixels.
    train
        Augmented training images.
    validation
        The held-out part of the training set, as it is.
    test
        The test set, as it is.
    left_out
        Paths of images that could not be read when they were loaded into memory.
    """

    name: str
    classes: tuple[str, ...]
    channels: int
    resolution: int
    train: Images
    validation: Images
    test: Images
    left_out: tuple[str, ...] = ()

    @property
    def unreadable(self) -> list[str]:
        """Paths of the images that could not be read so far."""
        return sorted({*self.left_out, *self.train.unreadable, *self.test.unreadable})
