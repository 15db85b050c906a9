"""ProxylessNAS search space: a chain of blocks, each an inverted residual or nothing.

The 21 choice blocks of ProxylessNAS [Cai2019] on the layout of MobileNetV2 [Sandler2018]: kernels
3, 5 and 7, expansions 3 and 6, and ``zero``, which leaves a block out, wherever the block keeps the
shape. 15 blocks have seven candidates and 6 blocks, the first of each stage, have six: about
2.2e17 children. There is no squeeze-and-excitation.

Differences from the paper [Xu2022]: its appendix C swaps kernel and expansion in the operators'
names; Sec. 5.5, which is followed here, has them right.

References
----------
.. [Cai2019] H. Cai, L. Zhu, S. Han, "ProxylessNAS: Direct Neural Architecture Search on Target
   Task and Hardware", ICLR 2019.
.. [Sandler2018] M. Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks",
   CVPR 2018.
.. [Xu2022] J. Xu et al., "Analyzing and Mitigating Interference in Neural Architecture Search",
   ICML 2022. Sec. 5.5 and Appendix C.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nni.nas.nn.pytorch import LayerChoice, ModelSpace
from torch import Tensor, nn

from search_spaces.checks import check_dropout, check_names, check_preset, check_sizes
from search_spaces.mbconv import ZERO, build_candidate, conv_norm
from search_spaces.proxylessnas_layout import PRESETS, Stage, block_shapes, check_layout, scaled

__all__ = ["PRESETS", "ProxylessNASSpace", "Stage", "scaled"]

CANDIDATES = (
    "mb3_3x3", "mb3_5x5", "mb3_7x7", "mb6_3x3", "mb6_5x5", "mb6_7x7", ZERO,
)  # fmt: skip


class ProxylessNASSpace(ModelSpace):
    """Chain of choice blocks between a convolutional stem and a classifier.

    Parameters
    ----------
    stages : sequence of Stage
        Width, number of blocks and stride of each stage. The choice blocks are labelled
        ``block_1`` to ``block_N`` throughout.
    resolution : int
        Height and width of the images, in pixels.
    n_classes : int
        Number of classes.
    in_channels : int
        Channels of the images.
    stem_channels, stem_stride : int
        Channels and stride of the first convolution.
    first_channels : int
        Channels behind the fixed block (expansion 1, kernel 3) that follows it.
    head_channels : int
        Channels of the pointwise convolution before the classifier.
    width : float
        Multiplies all these channels but, below 1, not the head's; see :func:`scaled`.
    dropout : float
        Probability in [0, 1) before the classifier.
    candidates : sequence of str
        Names of the candidates of every block, see :mod:`search_spaces.mbconv`. Blocks that change
        the shape go without ``zero``.
    bn_momentum, bn_eps : float
        Momentum and epsilon of every BatchNorm.

    Raises
    ------
    ValueError
        If a size is not positive, the resolution too small for the strides, or candidates are
        missing, repeated or unknown.

    Examples
    --------
    >>> import torch
    >>> space = ProxylessNASSpace.preset("tiny", resolution=8)
    >>> list(space.simplify())[:2], space.simplify()["block_1"].values[-1]
    (['block_1', 'block_2'], 'mb6_7x7')
    >>> space(torch.zeros(2, 1, 8, 8)).shape
    torch.Size([2, 10])
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        *,
        resolution: int,
        n_classes: int,
        in_channels: int = 3,
        stem_channels: int = 32,
        stem_stride: int = 2,
        first_channels: int = 16,
        head_channels: int = 1280,
        width: float = 1.0,
        dropout: float = 0.0,
        candidates: Sequence[str] = CANDIDATES,
        bn_momentum: float = 0.1,
        bn_eps: float = 1e-5,
    ) -> None:
        super().__init__()
        stages = [Stage(*stage) for stage in stages]
        check_sizes(
            n_classes=n_classes,
            in_channels=in_channels,
            stem_channels=stem_channels,
            first_channels=first_channels,
            head_channels=head_channels,
        )
        check_layout(stages, resolution, stem_stride)
        _check_options(width, dropout, candidates)
        norm = {"momentum": bn_momentum, "eps": bn_eps}
        self.resolution = resolution
        self.in_channels = in_channels
        stem, first = scaled(stem_channels, width), scaled(first_channels, width)
        self.stem = nn.Sequential(
            conv_norm(in_channels, stem, 3, stride=stem_stride, norm=norm),
            build_candidate("mb1_3x3", stem, first, stride=1, norm=norm),
        )
        self.layers = nn.ModuleList(
            LayerChoice(
                {
                    name: build_candidate(name, before, after, stride=stride, norm=norm)
                    for name in candidates
                    if name != ZERO or (stride == 1 and before == after)
                },
                label=f"block_{n}",
            )
            for n, (before, after, stride) in enumerate(block_shapes(stages, first, width), 1)
        )
        last, head = scaled(stages[-1].channels, width), scaled(head_channels, max(width, 1.0))
        self.head = nn.Sequential(
            conv_norm(last, head, norm=norm),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(head, n_classes),
        )
        self.apply(_initialise)

    @classmethod
    def preset(cls, name: str, **overrides: Any) -> ProxylessNASSpace:
        """Build a space of :data:`PRESETS` by name.

        Parameters
        ----------
        name : str
            ``"imagenet"``, ``"cifar"`` or ``"tiny"``.
        **overrides
            Constructor arguments that replace those of the preset.

        Raises
        ------
        ValueError
            If there is no such preset.
        """
        check_preset(name, PRESETS)
        return cls(**{**PRESETS[name], **overrides})

    def forward(self, images: Tensor) -> Tensor:
        """Classify images: ``(batch, in_channels, height, width)`` to ``(batch, n_classes)``."""
        hidden = self.stem(images)
        for layer in self.layers:
            hidden = layer(hidden)
        return self.head(hidden)

    def hidden_layers(self) -> list[nn.Module]:
        """Return the modules whose outputs are the hidden states H_1 to H_N.

        Works alike on the space, on a supernet made from it, and on child models. Each module
        returns ``(batch, channels, height, width)``, of one shape for all candidates.
        """
        return list(self.layers)


def _initialise(module: nn.Module) -> None:
    # As MobileNetV2: convolutions by their fan-out, and a classifier with small weights.
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out")
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.01)
        nn.init.zeros_(module.bias)


def _check_options(width: float, dropout: float, candidates: Sequence[str]) -> None:
    if not width > 0:
        raise ValueError(f"width is {width!r}; accepted are numbers above 0")
    check_dropout(dropout)
    check_names("candidates", candidates)
    if not set(candidates) - {ZERO}:
        raise ValueError(
            f"candidates is {candidates!r}; accepted are lists that hold another than {ZERO!r}"
        )
