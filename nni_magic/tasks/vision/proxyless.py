"""ProxylessNAS supernets and children on images: what the programs on this space share."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import nni_bootstrap  # noqa: F401
from nni.mutable import Sample
from nni.nas.profiler.pytorch.flops import FlopsProfiler

from search_spaces import ProxylessNASSpace

from ...children.costs import tabulated
from .domain import ImageDomain
from .settings import ProxylessSettings, multiply_adds

__all__ = ["Proxyless"]


class Proxyless(ImageDomain):
    """The ProxylessNAS space, trained to classify images.

    The baseline is the child of MobileNetV2's operators, whether it is within the budget or not.
    """

    settings: ProxylessSettings
    settings_type = ProxylessSettings
    baseline_name = "mobilenet_v2"
    skips = ("zero",)

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

    def baseline(self) -> Sample:
        """The operator of MobileNetV2, kernel 3 and expansion 6, in every block."""
        return dict.fromkeys(self.make_space().simplify(), "mb6_3x3")

    def costs(self, sample: Sample) -> dict[str, float]:
        return {"flops": self.profiler.profile(sample)}
