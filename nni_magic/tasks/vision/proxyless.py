"""ProxylessNAS supernets and children on images: what the programs on this space share."""

from __future__ import annotations

import argparse
import re
from functools import cached_property
from typing import Any

from nni.mutable import Sample
from nni.nas.profiler.pytorch.flops import FlopsProfiler

from search_spaces import ProxylessNASSpace
from search_spaces.proxylessnas import PRESETS

from ...children.costs import tabulated
from ...programs.options import STRATEGIES, check_names
from . import images
from .domain import ImageDomain, add_image_options

__all__ = ["Proxyless", "add_options", "check_settings", "multiply_adds"]

_UNITS = {"%": 0.01, "k": 1e3, "M": 1e6, "G": 1e9}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what the data, the space, and the training of a supernet need."""
    add_image_options(parser)
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


class Proxyless(ImageDomain):
    """The ProxylessNAS space, trained to classify images."""

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
