"""NAS-Bench-Macro: a chain of eight blocks whose 6,561 children have all been trained [Su2021].

Every block is nothing, a small or a large inverted residual:

==============  ============================================================================
``identity``    the input; where the shape changes a pointwise convolution and BatchNorm
``mb3_3x3``     inverted residual with expansion 3 and a depthwise kernel 3
``mb6_5x5``     the same with 6 and 5
==============  ============================================================================

Three stages of 2, 3 and 3 blocks follow a stem of 32 channels; the first block of each stage
doubles the channels and halves the resolution. Children have 0.5 to 3.8 million parameters.

References
----------
.. [Su2021] X. Su et al., "Prioritized Architecture Sampling with Monto-Carlo Tree Search",
   CVPR 2021. The benchmark: every child trained three times on CIFAR-10.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nni.nas.nn.pytorch import LayerChoice, ModelSpace
from torch import Tensor, nn

from search_spaces.checks import check_sizes
from search_spaces.mbconv import InvertedResidual, conv_norm

__all__ = ["CANDIDATES", "NASBenchMacroSpace"]

CANDIDATES = ("identity", "mb3_3x3", "mb6_5x5")
"""Operators of every block, in the order of the digits by which the benchmark names a child."""

STAGES = (2, 3, 3)


class NASBenchMacroSpace(ModelSpace):
    """Chain of eight choice blocks, ``block_1`` to ``block_8``, between a stem and a classifier.

    With the defaults a child is the benchmark's. Smaller supernets rank the same children.

    Parameters
    ----------
    channels : int
        Channels of the stem; the benchmark has 32.
    head_channels : int
        Channels of the pointwise convolution before the classifier.
    n_classes : int
        Number of classes.
    in_channels : int
        Channels of the images, of any resolution from 8 x 8 pixels.

    Raises
    ------
    ValueError
        If a size is no whole number of at least 1.

    Examples
    --------
    >>> import torch
    >>> space = NASBenchMacroSpace(channels=4, head_channels=16)
    >>> space.simplify()["block_1"].values
    ['identity', 'mb3_3x3', 'mb6_5x5']
    >>> space(torch.zeros(2, 3, 16, 16)).shape
    torch.Size([2, 10])
    """

    def __init__(
        self,
        channels: int = 32,
        head_channels: int = 1280,
        n_classes: int = 10,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        check_sizes(
            channels=channels, head_channels=head_channels, n_classes=n_classes,
            in_channels=in_channels,
        )  # fmt: skip
        self.stem = conv_norm(in_channels, channels, 3, **_NORM_RELU)
        self.layers = nn.ModuleList(
            LayerChoice(
                {name: _candidate(name, before, after, stride) for name in CANDIDATES},
                label=f"block_{n}",
            )
            for n, (before, after, stride) in enumerate(_block_shapes(channels), 1)
        )
        last = channels * 2 ** len(STAGES)
        self.head = nn.Sequential(
            conv_norm(last, head_channels, **_NORM_RELU),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(head_channels, n_classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Classify images: ``(batch, in_channels, height, width)`` to ``(batch, n_classes)``."""
        hidden = self.stem(images)
        for layer in self.layers:
            hidden = layer(hidden)
        return self.head(hidden)

    def hidden_layers(self) -> list[nn.Module]:
        """Return the modules whose outputs are the hidden states H_1 to H_8.

        Works alike on the space, on a supernet made from it, and on child models. Each module
        returns ``(batch, channels, height, width)``, of one shape for all candidates.
        """
        return list(self.layers)


_NORM_RELU: dict[str, Any] = {"activation": nn.ReLU, "norm": {}}


def _block_shapes(channels: int) -> Iterator[tuple[int, int, int]]:
    """Give every block's channels in, channels out and stride.

    >>> list(_block_shapes(32))[:3]
    [(32, 64, 2), (64, 64, 1), (64, 128, 2)]
    """
    for n_blocks in STAGES:
        yield channels, 2 * channels, 2
        channels *= 2
        yield from [(channels, channels, 1)] * (n_blocks - 1)


def _candidate(name: str, before: int, after: int, stride: int) -> nn.Module:
    if name == "identity":
        if stride == 1:
            return nn.Identity()
        return conv_norm(before, after, stride=stride, activation=None, norm={})
    expansion, kernel = {"mb3_3x3": (3, 3), "mb6_5x5": (6, 5)}[name]
    return InvertedResidual(
        before, after, expansion=expansion, kernel=kernel, stride=stride, **_NORM_RELU
    )
