"""From any image to what a classifier takes, as its validation images were made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import nni_bootstrap  # noqa: F401
import torch
from torch import Tensor
from torchvision.transforms import v2

from ...support.files import write_json
from .sources import Transform

__all__ = ["SMALL", "ImagePreprocessing", "to_resolution"]

SMALL = 64
"""Up to this resolution, in pixels, images are held in memory and cropped with padding."""


def to_resolution(resolution: int) -> Transform:
    """Make the transform of an image to a ``uint8`` tensor, ``(channels, height, width)``.

    Large images lose an eighth of their shorter side, as usual on ImageNet; small ones nothing.
    """
    as_tensor = [v2.ToImage(), v2.ToPureTensor()]
    if resolution <= SMALL:
        return v2.Compose([v2.ToImage(), v2.Resize(resolution), v2.CenterCrop(resolution),
                           v2.ToPureTensor()])  # fmt: skip
    crop = [v2.Resize(round(resolution * 8 / 7)), v2.CenterCrop(resolution)]
    return v2.Compose([*crop, *as_tensor])


@dataclass(frozen=True, kw_only=True)
class ImagePreprocessing:
    """What an image goes through before a classifier, and what its classes are called.

    Parameters
    ----------
    channels, resolution
        Of the images that the classifier takes, the resolution in pixels.
    mean, std
        Statistics of the pixels, in [0, 1], by which images are normalised, by channel.
    classes
        Names of the classes, in the order of their labels.
    """

    channels: int
    resolution: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    classes: tuple[str, ...]

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.classes)

    @cached_property
    def transform(self) -> Transform:
        """The transform of one image, of Pillow or ``uint8``, to ``(channels, height, width)``."""
        return v2.Compose([
            v2.Grayscale() if self.channels == 1 else v2.RGB(), to_resolution(self.resolution),
            v2.ToDtype(torch.float32, scale=True), v2.Normalize(list(self.mean), list(self.std)),
        ])  # fmt: skip

    def __call__(self, images: Any) -> Tensor:
        """Make a batch, ``(n, channels, height, width)``, of one image or a list of images."""
        several = images if isinstance(images, Sequence) else [images]
        return torch.stack([self.transform(image) for image in several])

    def write(self, folder: Path) -> None:
        """Write ``preprocessing.json`` beside a child."""
        write_json(folder / "preprocessing.json", {"kind": "images", **asdict(self)})

    @classmethod
    def read(cls, folder: Path, **settings: Any) -> Self:
        """Make what :meth:`write` wrote; ``settings`` are those of ``preprocessing.json``."""
        lists = {name: tuple(settings[name]) for name in ("mean", "std", "classes")}
        return cls(**{**settings, **lists})
