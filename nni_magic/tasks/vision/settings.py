"""Settings of the tasks on images; read without torch or NNI."""

from __future__ import annotations

import dataclasses
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self, get_args

from ...support.errors import check_choice, check_count, check_number
from ...support.kinds import fits
from ..settings import TaskSettings

__all__ = ["Dataset", "ImageSettings", "ProxylessPreset", "ProxylessSettings", "multiply_adds"]

Dataset = Literal["digits", "fashion_mnist", "cifar10", "cifar100", "imagefolder"]
"""Names of the data sets in :mod:`nni_magic.tasks.vision.images`."""
ProxylessPreset = Literal["imagenet", "cifar", "tiny"]
"""Names in :data:`search_spaces.proxylessnas.PRESETS`."""

MOST_WIDTH = 100
"""No space has been made wider, and torch cannot say what is wrong with one of 1e300."""
_UNITS = {"%": 0.01, "k": 1e3, "M": 1e6, "G": 1e9}


@dataclass(frozen=True, kw_only=True)
class ImageSettings(TaskSettings):
    """Settings of a classification of images.

    Parameters
    ----------
    label_smoothing
        Share of the target that is spread over all classes.
    channels_last
        Keep images in memory with the channels last, which is quicker on some devices.
    dataset
        Name of the data set.
    data
        Folder of the data; ``imagefolder`` needs one.
    download
        Download what is missing.
    resolution
        Height and width of the images, in pixels; by default those of the data, or 224 for a
        folder whose images are not all squares of one size.
    held_out
        Share of the training set on which children are scored.
    skip_unreadable
        Leave images out that cannot be read.
    check_images
        Read all images of a folder at the start, so that a run ends there, and names all that
        cannot be read.
    """

    batch_size: int = 64
    learning_rate: float = 0.1
    weight_decay: float = 4e-5
    label_smoothing: float = 0.1
    channels_last: bool = False
    dataset: Dataset = "digits"
    data: Path | None = None
    download: bool = False
    resolution: int | None = None
    held_out: float = 0.1
    skip_unreadable: bool = False
    check_images: bool = False

    def __post_init__(self) -> None:
        check_choice("dataset", self.dataset, get_args(Dataset))
        check_number("label_smoothing", self.label_smoothing, at_least=0, below=1)
        check_number("held_out", self.held_out, above=0, below=1)
        if self.resolution is not None:
            check_count("resolution", self.resolution)
        super().__post_init__()

    def with_data(self, data: Path) -> Self:
        """Take the images of a folder."""
        if self.dataset == "digits":
            others = ", ".join(name for name in get_args(Dataset) if name != "digits")
            raise ValueError(
                f"data is {str(data)!r}, but dataset is 'digits', which come with scikit-learn; "
                f"{others} have a folder"
            )
        return dataclasses.replace(self, data=data)


@dataclass(frozen=True, kw_only=True)
class ProxylessSettings(ImageSettings):
    """Settings of the ProxylessNAS space on images.

    Parameters
    ----------
    preset
        The space's size, see :class:`search_spaces.ProxylessNASSpace`.
    candidates
        Operators of every block, if not those of the preset.
    width
        Multiplies the channels.
    dropout
        Probability of dropout before the classifier.
    budget
        Most multiply-adds that a child may have, such as ``600M``; or a percentage of
        the way from the smallest child's to the largest's, such as ``60%``.
    """

    preset: ProxylessPreset = "tiny"
    candidates: tuple[str, ...] | None = None
    width: float = 1.0
    dropout: float = 0.0
    budget: str = "60%"

    def __post_init__(self) -> None:
        check_choice("preset", self.preset, get_args(ProxylessPreset))
        check_number("width", self.width, above=0, at_most=MOST_WIDTH)
        check_number("dropout", self.dropout, at_least=0, below=1)
        multiply_adds(self.budget, 0, 0)
        super().__post_init__()


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
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([%kMG])", budget) if fits(budget, str) else None
    value = 0.0 if match is None else float(match[1]) * _UNITS[match[2]]
    if match is None or not 0 < value < math.inf or (match[2] == "%" and value > 1):
        raise ValueError(
            f"budget is {budget!r}; accepted are figures above 0 such as 600M, 1.5G and 60%, up to "
            "100%"
        )
    return smallest + value * (largest - smallest) if match[2] == "%" else value
