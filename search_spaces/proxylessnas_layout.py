"""Layouts of the ProxylessNAS space: stages of choice blocks, their widths, and the presets.

References
----------
.. [Cai2019] H. Cai, L. Zhu, S. Han, "ProxylessNAS: Direct Neural Architecture Search on Target
   Task and Hardware", ICLR 2019.
.. [Sandler2018] M. Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks",
   CVPR 2018.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from search_spaces.checks import check_sizes

__all__ = ["PRESETS", "Stage", "block_shapes", "check_layout", "scaled"]


class Stage(NamedTuple):
    """Choice blocks of one width; the first of them has the stride.

    Attributes
    ----------
    channels : int
        Channels that go out, before the width multiplier.
    n_blocks : int
        Number of choice blocks.
    stride : int
        1 or 2.
    """

    channels: int
    n_blocks: int
    stride: int


PRESETS: dict[str, dict[str, Any]] = {
    # [Cai2019]'s layout with the widths of its published mobile model; 224 x 224 pixels.
    "imagenet": {
        "stages": (
            Stage(32, 4, 2), Stage(40, 4, 2), Stage(80, 4, 2), Stage(96, 4, 1), Stage(192, 4, 2),
            Stage(320, 1, 1),
        ),
        "resolution": 224,
        "n_classes": 1000,
    },
    # The same blocks for 32 x 32 pixels: three strides less.
    "cifar": {
        "stages": (
            Stage(32, 4, 1), Stage(40, 4, 2), Stage(80, 4, 2), Stage(96, 4, 1), Stage(192, 4, 2),
            Stage(320, 1, 1),
        ),
        "resolution": 32,
        "n_classes": 10,
        "stem_stride": 1,
    },
    # Ours, to train on two CPU cores: grey images of 28 x 28 or 8 x 8 pixels.
    "tiny": {
        "stages": (Stage(16, 3, 2), Stage(24, 3, 2), Stage(32, 2, 1)),
        "resolution": 28,
        "n_classes": 10,
        "in_channels": 1,
        "stem_channels": 16,
        "stem_stride": 1,
        "first_channels": 8,
        "head_channels": 64,
    },
}  # fmt: skip


def scaled(channels: int, width: float) -> int:
    """Multiply channels and round to a multiple of 8, never by more than 10 % down.

    As the published code of MobileNetV2 [Sandler2018] does. Width 1 leaves the channels as they
    are.

    Examples
    --------
    >>> scaled(24, 1.4), scaled(32, 0.35), scaled(20, 1.0)
    (32, 16, 20)
    """
    if width == 1:
        return channels
    wanted = channels * width
    rounded = max(8, int(wanted + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * wanted else rounded + 8


def block_shapes(
    stages: Sequence[Stage], first: int, width: float
) -> Iterator[tuple[int, int, int]]:
    """Give every choice block's channels in, channels out and stride.

    Parameters
    ----------
    stages
        The stages, with their channels before the width multiplier.
    first
        Channels that go into the first block.
    width
        The width multiplier.

    Examples
    --------
    >>> list(block_shapes([Stage(16, 2, 2), Stage(24, 1, 1)], 8, 1.0))
    [(8, 16, 2), (16, 16, 1), (16, 24, 1)]
    """
    before = first
    for stage in stages:
        after = scaled(stage.channels, width)
        for n in range(stage.n_blocks):
            yield before, after, stage.stride if n == 0 else 1
            before = after


def check_layout(stages: Sequence[Stage], resolution: int, stem_stride: int) -> None:
    """Raise a ``ValueError`` for stages that make no space, or images too small for them."""
    if not stages:
        raise ValueError("stages is empty; accepted are lists of at least one stage")
    for n, stage in enumerate(stages, 1):
        check_sizes(**{f"channels of stage {n}": stage.channels})
        check_sizes(**{f"n_blocks of stage {n}": stage.n_blocks})
    strides = {"stem_stride": stem_stride}
    strides.update({f"stride of stage {n}": stage.stride for n, stage in enumerate(stages, 1)})
    for name, stride in strides.items():
        if stride not in (1, 2):
            raise ValueError(f"{name} is {stride!r}; accepted are 1, 2")
    reduction = math.prod(strides.values())
    if resolution < reduction:
        raise ValueError(
            f"resolution is {resolution!r}; accepted are at least {reduction} pixels, by which the "
            "strides reduce it"
        )
