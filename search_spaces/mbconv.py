"""Candidate operators of the ProxylessNAS search space, built by name.

=====================  ======================================================================
name                   operator
=====================  ======================================================================
``mb<e>_<k>x<k>``      inverted residual with expansion ``e`` and a depthwise kernel ``k``
``zero``               nothing: the layer's input goes on as it is
=====================  ======================================================================

Every operator maps images ``(batch, in_channels, height, width)`` to ``(batch, out_channels,
height / stride, width / stride)``. Where input and output have one shape, an inverted residual
adds its input to its output, and ``zero`` is what remains without the operator.

References
----------
.. [Sandler2018] M. Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks",
   CVPR 2018.
.. [Cai2019] H. Cai, L. Zhu, S. Han, "ProxylessNAS: Direct Neural Architecture Search on Target
   Task and Hardware", ICLR 2019.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

__all__ = ["InvertedResidual", "build_candidate", "conv_norm"]

ZERO = "zero"
_NAME = re.compile(r"mb([1-9]\d*)_([1-9]\d*)x\2")


def conv_norm(
    in_channels: int,
    out_channels: int,
    kernel: int = 1,
    *,
    stride: int = 1,
    groups: int = 1,
    activation: type[nn.Module] | None = nn.ReLU6,
    norm: Mapping[str, Any],
) -> nn.Sequential:
    """Build a convolution without bias, BatchNorm and, if wanted, an activation.

    Parameters
    ----------
    in_channels, out_channels, kernel, stride, groups
        Settings of the convolution; the padding keeps the resolution at stride 1.
    activation
        Class of the activation that follows, in place; ``None`` for none.
    norm
        Settings of BatchNorm.
    """
    shape = (in_channels, out_channels, kernel, stride, kernel // 2)
    layers: list[nn.Module] = [
        nn.Conv2d(*shape, groups=groups, bias=False),
        nn.BatchNorm2d(out_channels, **norm),
    ]
    if activation is not None:
        layers.append(activation(inplace=True))
    return nn.Sequential(*layers)


class InvertedResidual(nn.Module):
    """Pointwise expansion, depthwise convolution, linear pointwise projection [Sandler2018].

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of the images that come in and go out.
    expansion : int
        Channels inside, as a multiple of ``in_channels``. With 1 there is no pointwise expansion.
    kernel : int
        Width of the depthwise convolution, odd.
    stride : int
        Stride of the depthwise convolution.
    norm : dict
        Settings of BatchNorm.
    activation : type
        Class of the activations inside.

    Notes
    -----
    With ``h = expansion * in_channels`` inner channels, ``h * (in_channels + kernel**2 +
    out_channels) + 4 * h + 2 * out_channels`` parameters; no squeeze-and-excitation.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        expansion: int,
        kernel: int,
        stride: int,
        norm: Mapping[str, Any],
        activation: type[nn.Module] = nn.ReLU6,
    ) -> None:
        super().__init__()
        if kernel % 2 == 0:
            raise ValueError(f"kernel is {kernel}; accepted are odd widths")
        inner = expansion * in_channels
        active: dict[str, Any] = {"activation": activation, "norm": norm}
        expand = [conv_norm(in_channels, inner, **active)] if expansion > 1 else []
        self.convolutions = nn.Sequential(
            *expand,
            conv_norm(inner, inner, kernel, stride=stride, groups=inner, **active),
            conv_norm(inner, out_channels, activation=None, norm=norm),
        )
        self.has_shortcut = stride == 1 and in_channels == out_channels

    def forward(self, images: Tensor) -> Tensor:
        """Transform ``(batch, in_channels, height, width)``."""
        update = self.convolutions(images)
        return images + update if self.has_shortcut else update


def build_candidate(
    name: str, in_channels: int, out_channels: int, *, stride: int, norm: Mapping[str, Any]
) -> nn.Module:
    """Build the candidate operator that a name of the table above stands for.

    Raises
    ------
    ValueError
        If the name is unknown, the kernel even, or ``zero`` would have to change the shape.

    Examples
    --------
    >>> operator = build_candidate("mb6_3x3", 8, 8, stride=1, norm={})
    >>> sum(p.numel() for p in operator.parameters())  # 48 * (8 + 9 + 8) + 4 * 48 + 2 * 8
    1408
    """
    if name == ZERO:
        if stride != 1 or in_channels != out_channels:
            raise ValueError(
                f"candidate {ZERO!r} cannot stand in a reducing block: it keeps the shape, and the "
                f"block has stride {stride} and maps {in_channels} channels to {out_channels}"
            )
        return nn.Identity()
    match = _NAME.fullmatch(name)
    if match is None or int(match[2]) % 2 == 0:
        raise ValueError(
            f"candidate is {name!r}; accepted are {ZERO!r} and mb<expansion>_<k>x<k> "
            "with positive numbers and odd k, such as 'mb6_5x5'"
        )
    return InvertedResidual(
        in_channels, out_channels, expansion=int(match[1]), kernel=int(match[2]), stride=stride,
        norm=norm,
    )  # fmt: skip
