"""ProxylessNAS supernets and children on images: what the programs on this space share."""

from __future__ import annotations

import argparse
import hashlib
import os
import re
from functools import cached_property
from pathlib import Path
from typing import Any

from experiments.domain import Domain
from experiments.options import STRATEGIES, check_names
from experiments.options import add_options as add_training_options
from nni_magic.costs import tabulated

# isort: split
import numpy as np
import torch
from nni.mutable import Sample
from nni.nas.evaluator.pytorch import DataLoader, Lightning
from nni.nas.profiler.pytorch.flops import FlopsProfiler

from experiments import images
from experiments.classification import image_evaluator, image_search_evaluator
from experiments.image_sources import FolderImages, ImageSource, MemoryImages
from search_spaces import ProxylessNASSpace
from search_spaces.proxylessnas import PRESETS

__all__ = ["Proxyless", "add_options", "check_settings", "multiply_adds"]

_UNITS = {"%": 0.01, "k": 1e3, "M": 1e6, "G": 1e9}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what the data, the space, and the training of a supernet need."""
    add_training_options(parser)
    parser.set_defaults(batch_size=64, learning_rate=0.1, weight_decay=4e-5)
    train = parser.add_argument_group("training of images")
    train.add_argument("--label-smoothing", type=float, default=0.1)
    train.add_argument("--channels-last", action="store_true")

    data = parser.add_argument_group("data")
    data.add_argument("--dataset", default="digits", help=f"one of {', '.join(images.NAMES)}")
    data.add_argument("--data", type=Path, help="folder of the data")
    data.add_argument("--download", action="store_true", help="what is missing")
    data.add_argument("--cache", type=Path, default=Path("experiments/runs/cache"))
    data.add_argument("--resolution", type=int, help="in pixels; by default that of the data")
    data.add_argument(
        "--held-out", type=float, default=0.1, help="share of the training set to search on"
    )
    data.add_argument(
        "--skip-unreadable", action="store_true", help="leave images out that cannot be read"
    )

    space = parser.add_argument_group("space")
    space.add_argument("--preset", default="tiny", help="of search_spaces.ProxylessNASSpace")
    space.add_argument("--candidates", nargs="+", help="of every block, if not those of the preset")
    space.add_argument("--width", type=float, default=1.0, help="multiplies the channels")
    space.add_argument("--dropout", type=float, default=0.0)
    space.add_argument(
        "--budget",
        default="60%",
        help="multiply-adds of a child at most, such as 600M; or in %% of the way "
        "from the smallest child to the largest",
    )


def check_settings(settings: argparse.Namespace) -> None:
    """Make sure that the names in the settings are known.

    Raises
    ------
    ValueError
        If the strategy, the preset or the data set is not, or the budget is no number.
    """
    check_names(settings, strategy=STRATEGIES, preset=PRESETS, dataset=images.NAMES)
    multiply_adds(settings.budget, 0, 0)


def multiply_adds(budget: str, smallest: float, largest: float) -> float:
    """Read a budget.

    Parameters
    ----------
    budget
        Multiply-adds with a unit, or in percent of the way from the smallest to the largest.
    smallest, largest
        Multiply-adds of children.

    Raises
    ------
    ValueError
        If it is neither.

    Examples
    --------
    >>> multiply_adds("600M", 1e8, 9e8), multiply_adds("75%", 100.0, 200.0)
    (600000000.0, 175.0)
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([%kMG])", budget)
    if match is None:
        raise ValueError(f"budget is {budget!r}; accepted are figures such as 600M, 1.5G and 60%")
    value = float(match[1]) * _UNITS[match[2]]
    return smallest + value * (largest - smallest) if match[2] == "%" else value


class Proxyless(Domain):
    """The ProxylessNAS space, trained to classify images."""

    data: images.ImageData
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

    def make_space(self) -> ProxylessNASSpace:
        settings = self.settings
        chosen = {"candidates": settings.candidates} if settings.candidates else {}
        return ProxylessNASSpace.preset(
            settings.preset,
            **{
                "resolution": self.data.resolution,
                "in_channels": self.data.channels,
                "n_classes": len(self.data.classes),
                "width": settings.width,
                "dropout": settings.dropout,
                **chosen,
                **self.space,
            },
        )

    def example(self) -> torch.Tensor:
        """Two images."""
        size = self.data.resolution
        return torch.zeros(2, self.data.channels, size, size)

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

    @cached_property
    def profiler(self) -> FlopsProfiler:
        """Counts multiply-adds of convolutions and the classifier, as papers do."""
        return FlopsProfiler(
            self.make_space(), (self.example(),),
            count_bias=False, count_normalization=False, count_activation=False,
        )  # fmt: skip

    @cached_property
    def filter(self) -> dict[str, Any]:
        """No more multiply-adds than the budget."""
        smallest, largest = tabulated(self.profiler).extremes()
        budget = multiply_adds(self.settings.budget, smallest, largest)
        return {"profiler": self.profiler, "max": budget}

    def costs(self, sample: Sample) -> dict[str, float]:
        return {"flops": self.profiler.profile(sample)}


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
