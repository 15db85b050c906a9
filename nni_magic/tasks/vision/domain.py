"""Image classifiers: what the programs on spaces of images share, whatever the space."""

from __future__ import annotations

import hashlib
import os
from functools import cached_property
from typing import Any

import nni_bootstrap  # noqa: F401
import numpy as np
import torch
from nni.nas.evaluator.pytorch import DataLoader, Lightning

from ..domain import Domain
from . import images
from .classification import image_evaluator, image_search_evaluator
from .preprocessing import ImagePreprocessing
from .settings import ImageSettings
from .sources import FolderImages, ImageSource, MemoryImages

__all__ = ["ImageDomain"]


class ImageDomain(Domain):
    """Spaces of image classifiers; which one is left to a class of its own."""

    settings: ImageSettings
    data: images.ImageData
    row = "image"
    accuracy = "val_acc"
    packages = (*Domain.packages, "torchvision")

    def load(self) -> images.ImageData:
        settings = self.settings
        return images.prepare(
            settings.dataset,
            root=settings.data,
            cache=settings.cache,
            download=settings.download,
            resolution=settings.resolution,
            held_out=settings.held_out,
            skip_unreadable=settings.skip_unreadable,
            check_images=settings.check_images,
        )

    def describe(self) -> dict[str, Any]:
        data = self.data
        sizes = {name: len(getattr(data, name)) for name in ("train", "validation", "test")}
        return {"dataset": data.name, "classes": len(data.classes), "images": sizes,
                "images_digest": self.images_digest, "unreadable": data.unreadable}  # fmt: skip

    @cached_property
    def images_digest(self) -> str:
        """Digest of the images of all parts, wherever they lie."""
        content = hashlib.sha256()
        # What is held out for the search is of the training set's source.
        for source in (self.data.train.source, self.data.test.source):
            _add_content(source, content, str(self.settings.data))
        return content.hexdigest()[:16]

    def example(self) -> torch.Tensor:
        """Two images."""
        size = self.data.resolution
        return torch.zeros(2, self.data.channels, size, size)

    def preprocessing(self) -> ImagePreprocessing:
        data = self.data
        return ImagePreprocessing(
            channels=data.channels, resolution=data.resolution, classes=data.classes,
            **images.STATISTICS[data.name]._asdict(),
        )  # fmt: skip

    def evaluator(self, **settings: Any) -> Lightning:
        return image_evaluator(
            self.data,
            label_smoothing=self.settings.label_smoothing,
            channels_last=self.settings.channels_last,
            **settings,
        )

    def search_evaluator(self, **settings: Any) -> Lightning:
        return image_search_evaluator(
            self.data, channels_last=self.settings.channels_last, **settings
        )

    def test_data(self) -> DataLoader:
        """The test set."""
        settings = self.settings
        return DataLoader(
            self.data.test, batch_size=settings.batch_size, num_workers=settings.workers,
            collate_fn=images.as_it_is,
        )  # fmt: skip


def _add_content(source: ImageSource, content: Any, root: str) -> None:
    """Add images to a digest: their pixels, or of files that are not read their paths and sizes.

    Parameters
    ----------
    source
        The images.
    content
        Digest of ``hashlib``.
    root
        Folder that the paths of files begin with, which is left out.
    """
    if isinstance(source, MemoryImages):
        content.update(np.ascontiguousarray(source.images))
        content.update(np.ascontiguousarray(source.labels))
        return
    assert isinstance(source, FolderImages)
    for path in source.paths.tolist():
        content.update(f"{path.removeprefix(root)} {_size(path)}\n".encode())


def _size(path: str) -> int | None:
    """Bytes of a file; ``None`` if there are none to read, such as behind a broken link."""
    try:
        return os.path.getsize(path)
    except OSError:
        return None
