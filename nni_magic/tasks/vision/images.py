"""Images for a classifier: data sets by name, augmented for training, a part held out for search.

=================  ===================================================================
name               data
=================  ===================================================================
``digits``         scikit-learn's handwritten digits, which need no download: 8 x 8, grey
``fashion_mnist``  28 x 28, grey
``cifar10``        32 x 32, colour
``cifar100``       32 x 32, colour
``imagefolder``    a folder of your own, or ImageNet: ``train/`` and ``test/`` or ``val/``
=================  ===================================================================

Three parts that share no image: what trains, what a search scores children on, which is taken out
of the training set, and the test set, which no search sees. scikit-learn's digits have no test
set of their own; a fifth of them, always the same, is theirs.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nni_bootstrap  # noqa: F401
import numpy as np
import torch
from sklearn.model_selection import train_test_split
from torch import Tensor
from torchvision.transforms import v2

from ...support.errors import check_choice, check_count, check_number
from ..settings import MOST_SEED
from .parts import ImageData, Images, Statistics, as_it_is
from .preprocessing import SMALL, to_resolution
from .settings import ImageSettings
from .sources import (
    FolderImages,
    ImageSource,
    MemoryImages,
    Transform,
    check_readable,
    open_digits,
    open_folder,
    open_known,
)

__all__ = ["NAMES", "ImageData", "Images", "Statistics", "as_it_is", "prepare", "stratified"]

STATISTICS = {
    "digits": Statistics((0.3053,), (0.3763,)),
    "fashion_mnist": Statistics((0.2860,), (0.3530,)),
    "cifar10": Statistics((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar100": Statistics((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    "imagefolder": Statistics((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),  # ImageNet's
}
NAMES = tuple(STATISTICS)
MIXED = 224
"""Resolution of images of several sizes, in pixels, as ImageNet's are taken."""

_logger = logging.getLogger(__name__)


def prepare(
    name: str,
    *,
    root: Path | None = None,
    cache: Path = ImageSettings.cache,
    download: bool = False,
    resolution: int | None = None,
    held_out: float = 0.1,
    skip_unreadable: bool = False,
    check_images: bool = False,
    seed: int = 0,
) -> ImageData:
    """Open a data set by name, and hold a part of its training set out.

    Parameters
    ----------
    name
        See the module.
    root
        Folder of the data; ``imagefolder`` needs it.
    cache, download
        See :func:`nni_magic.tasks.vision.sources.open_known`.
    resolution
        Of the images, in pixels: by default the data set's own, and for an ``imagefolder`` whose
        training images are not all squares of one size, 224.
    held_out
        Share of the training set to search on.
    skip_unreadable
        Leave images out that cannot be read, instead of ending in an error.
    check_images
        Read all images of a folder now, to find those that cannot be read.
    seed
        Of the split. Keep it when runs with different training seeds are compared.

    Raises
    ------
    FileNotFoundError
        If data are missing.
    ValueError
        If a setting is not accepted, classes differ, or an image cannot be read.
    """
    check_choice("dataset", name, NAMES)
    if resolution is not None:
        check_count("resolution", resolution)
    train: ImageSource
    test: ImageSource
    classes: Sequence[str] | None = None
    if name == "digits":
        digits = open_digits()
        train, test = (
            MemoryImages(digits.images[part], digits.labels[part])
            for part in map(torch.as_tensor, stratified(digits.labels, 0.2, seed=0))
        )
    elif name == "imagefolder":
        if root is None:
            raise ValueError("data is None; accepted is a folder with train and test")
        train, test, classes = open_folder(root, skip_unreadable=skip_unreadable)
        if check_images:
            check_readable([train, test])
    else:
        train, test = (open_known(name, part, root, cache, download) for part in (True, False))
    return _prepared(name, train, test, classes, resolution, held_out, seed)


def _prepared(
    name: str,
    train: ImageSource,
    test: ImageSource,
    classes: Sequence[str] | None,
    resolution: int | None,
    held_out: float,
    seed: int,
) -> ImageData:
    resolution = resolution or _own_resolution(train)
    left_out: list[str] = []
    if resolution <= SMALL:
        train, test = (_in_memory(source, resolution, left_out) for source in (train, test))
    statistics = STATISTICS[name]
    plain, augmented = _transforms(name, resolution)
    trained, searched = stratified(train.labels, held_out, seed)
    return ImageData(
        name=name,
        classes=tuple(classes or map(str, range(int(train.labels.max()) + 1))),
        channels=len(statistics.mean),
        resolution=resolution,
        train=Images(train, trained, augmented, statistics),
        validation=Images(train, searched, plain, statistics),
        test=Images(test, np.arange(len(test.labels)), plain, statistics),
        left_out=tuple(left_out),
    )


def _own_resolution(source: ImageSource) -> int:
    if isinstance(source, MemoryImages):
        return source.images.shape[-1]
    assert isinstance(source, FolderImages)
    if (own := source.own_resolution()) is None:
        _logger.info("The images are not all squares of one size: resolution is %d", MIXED)
        return MIXED
    return own


def stratified(labels: Tensor, held_out: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Split indices so that every class has the same share of both parts; each is shuffled.

    Parameters
    ----------
    labels
        ``(n,)``.
    held_out
        Share of the second part, in (0, 1).
    seed
        Of the split.

    Raises
    ------
    ValueError
        If the share is not accepted, or a class has too few images for both parts.
    """
    check_number("held_out", held_out, above=0, below=1)
    check_count("seed", seed, at_least=0, at_most=MOST_SEED)
    try:
        trained, searched = train_test_split(
            np.arange(len(labels)), test_size=held_out, random_state=seed, stratify=labels.numpy()
        )
    except ValueError as error:
        raise ValueError(
            f"held_out is {held_out} of {len(labels)} images of {len(labels.unique())} classes, "
            f"and both parts need one of every class: {error}"
        ) from error
    return trained, searched


def _in_memory(source: Any, resolution: int, left_out: list[str]) -> MemoryImages:
    """Images in memory at a resolution; the paths of those that cannot be read go to a list."""
    if isinstance(source, MemoryImages) and source.images.shape[-1] == resolution:
        return source
    images = source.read(range(len(source.labels)), to_resolution(resolution))
    if isinstance(source, FolderImages):
        left_out += source.names()
    return MemoryImages(*images)


def _transforms(name: str, resolution: int) -> tuple[Transform, Transform]:
    """Transforms to ``uint8`` tensors of the resolution, without and with augmentation."""
    # A digit mirrored is no digit.
    flip = [] if name == "digits" else [v2.RandomHorizontalFlip()]
    if resolution <= SMALL:
        crop = v2.RandomCrop(resolution, padding=max(1, resolution // 8))
        return v2.Identity(), v2.Compose([crop, *flip])
    as_tensor = [v2.ToImage(), v2.ToPureTensor()]
    # As ProxylessNAS trains on ImageNet [Cai2019]; no cutout, no mixup.
    colours = v2.ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)
    augmented = [v2.RandomResizedCrop(resolution, scale=(0.08, 1.0)), *flip, colours]
    return to_resolution(resolution), v2.Compose([*augmented, *as_tensor])
