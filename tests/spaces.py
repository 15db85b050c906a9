"""Small model spaces that the tests share: flat, convolutional, chain, conditional, mixed, cell."""

import copy
import math
from collections import OrderedDict
from functools import partial

import nni
import torch
from nni.mutable import Categorical
from nni.mutable.annotation import ExpressionConstraint
from nni.nas.hub.pytorch import MobileNetV3Space
from nni.nas.nn.pytorch import (
    Cell,
    InputChoice,
    LayerChoice,
    ModelSpace,
    MutableBatchNorm2d,
    MutableConv2d,
    MutableLinear,
    Repeat,
)
from nni.nas.nn.pytorch.base import recursive_freeze
from nni.nas.oneshot.pytorch.strategy import RandomOneShot
from nni.nas.oneshot.pytorch.supermodule.base import BaseSuperNetModule
from torch import nn

WIDTH = 4


class FlatSpace(ModelSpace):
    """``n_blocks`` choice blocks of ``n_candidates`` linear layers, ``(batch, 4)`` to the same.

    With ``n_classes`` a head follows, ``(batch, n_classes)``.
    """

    def __init__(self, n_blocks: int = 3, n_candidates: int = 3, n_classes: int = 0):
        super().__init__()
        self.blocks = nn.ModuleList(
            LayerChoice([nn.Linear(WIDTH, WIDTH) for _ in range(n_candidates)], label=f"block_{n}")
            for n in range(1, n_blocks + 1)
        )
        self.head = nn.Linear(WIDTH, n_classes) if n_classes else nn.Identity()

    def forward(self, x):
        for block in self.blocks:
            x = torch.tanh(block(x))
        return self.head(x)


class SizedSpace(ModelSpace):
    """Choice blocks whose candidates differ in parameters: a linear layer (20) or nothing (0)."""

    def __init__(self, n_blocks: int = 4):
        super().__init__()
        self.blocks = nn.ModuleList(
            LayerChoice(
                OrderedDict(linear=nn.Linear(WIDTH, WIDTH), skip=nn.Identity()), label=f"block_{n}"
            )
            for n in range(1, n_blocks + 1)
        )

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return x


def conv_bn(kernel: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(WIDTH, WIDTH, kernel, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(WIDTH),
        nn.ReLU(),
    )


def conv_candidates(dropout: float) -> OrderedDict[str, nn.Module]:
    return OrderedDict(
        conv1=conv_bn(1),
        conv3=conv_bn(3),
        skip=nn.Identity(),
        drop=nn.Sequential(conv_bn(3), nn.Dropout(dropout)),
    )


class ConvSpace(ModelSpace):
    """Four blocks of convolutions with BatchNorm, of nothing, or with dropout.

    ``(batch, 1, 8, 8)`` to ``(batch, 10)``; hidden states are ``(batch, 4, 8, 8)``.
    """

    CANDIDATES = ("conv1", "conv3", "skip", "drop")

    def __init__(self, n_blocks: int = 4, dropout: float = 0.5):
        super().__init__()
        self.stem = nn.Conv2d(1, WIDTH, 3, padding=1)
        self.blocks = nn.ModuleList(
            LayerChoice(conv_candidates(dropout), label=f"block_{n}")
            for n in range(1, n_blocks + 1)
        )
        self.head = nn.Linear(WIDTH, 10)

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean((2, 3)))


class ChainLayer(nn.Module):
    """A choice block, with BatchNorm behind it that all its candidates share."""

    def __init__(self, label: str, dropout: float):
        super().__init__()
        self.operator = LayerChoice(conv_candidates(dropout), label=label)
        self.norm = nn.BatchNorm2d(WIDTH)

    def forward(self, x, scale=None):
        hidden = self.norm(self.operator(x))
        return hidden if scale is None else hidden * scale[:, None, None, None]


class ChainSpace(ModelSpace):
    """A chain of ``stem``, ``layers`` and ``head``, with BatchNorm and dropout everywhere.

    ``(batch, 1, 8, 8)`` and, if wanted, a scale ``(batch,)`` to ``(batch, 10)``.
    """

    def __init__(self, n_blocks: int = 4, dropout: float = 0.5):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, WIDTH, 3, padding=1), nn.BatchNorm2d(WIDTH))
        self.layers = nn.ModuleList(
            ChainLayer(f"block_{n}", dropout) for n in range(1, n_blocks + 1)
        )
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(WIDTH, 10))

    def forward(self, x, scale=None):
        x = self.stem(x)
        for layer in self.layers:
            x = layer(x, scale)
        return self.head(x)

    def head(self, hidden):
        return self.classifier(hidden.mean((2, 3)))


class MixedSpace(ModelSpace):
    """Depth, choice blocks inside of it, a kernel size, and inputs: one of each NNI primitive.

    ``(batch, 1, 8, 8)`` to ``(batch, 10)``. Every hidden state is ``(batch, 4, 8, 8)``. The label
    ``op_n`` is active when ``depth`` is at least n.
    """

    def __init__(self, n_chosen: int = 1):
        super().__init__()
        self.stem = nn.Conv2d(1, WIDTH, 3, padding=1)
        self.repeat = Repeat(
            lambda i: LayerChoice(
                OrderedDict(conv1=conv_bn(1), conv3=conv_bn(3), skip=nn.Identity()),
                label=f"op_{i + 1}",
            ),
            (1, 3),
            label="depth",
        )
        kernel = nni.choice("kernel", [1, 3, 5])
        self.conv = MutableConv2d(WIDTH, WIDTH, kernel_size=kernel, padding=kernel // 2)
        self.inputs = InputChoice(3, n_chosen=n_chosen, reduction="mean", label="inputs")
        self.head = nn.Linear(WIDTH, 10)

    def forward(self, x):
        stem = self.stem(x)
        deep = self.repeat(stem)
        return self.head(self.inputs([stem, deep, self.conv(deep)]).mean((2, 3)))


class WidthSpace(ModelSpace):
    """BatchNorm of variable width; ``(batch, 1, 8, 8)`` to ``(batch, 10)``."""

    def __init__(self):
        super().__init__()
        width = nni.choice("width", [2, 4, 6])
        self.conv = MutableConv2d(1, width, 3, padding=1)
        self.norm = MutableBatchNorm2d(width)
        self.head = MutableLinear(width, 10)

    def forward(self, x):
        return self.head(self.norm(self.conv(x)).relu().mean((2, 3)))


class TupleSpace(ModelSpace):
    """Kernels that are tuples, unknown to JSON; ``(batch, 1, 8, 8)`` to ``(batch, 10)``."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, WIDTH, 3)
        self.blocks = nn.ModuleList(
            LayerChoice([nn.Conv2d(WIDTH, WIDTH, 1), nn.Identity()], label=f"block_{n}")
            for n in range(1, 4)
        )
        kernel = nni.choice("kernel", [(1, 1), (1, 3), (3, 3)])
        self.conv = MutableConv2d(WIDTH, WIDTH, kernel_size=kernel)
        self.head = nn.Linear(WIDTH, 10)

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = block(x).relu()
        return self.head(self.conv(x).mean((2, 3)))


class NestedSpace(ModelSpace):
    """A choice block inside a candidate: ``inner`` is active when ``outer`` is ``nested``."""

    def __init__(self):
        super().__init__()
        inner = LayerChoice([nn.Linear(WIDTH, WIDTH) for _ in range(3)], label="inner")
        self.outer = LayerChoice(
            OrderedDict(
                plain=nn.Linear(WIDTH, WIDTH),
                nested=nn.Sequential(inner, nn.ReLU()),
            ),
            label="outer",
        )
        self.tail = LayerChoice([nn.Linear(WIDTH, WIDTH), nn.Identity()], label="tail")

    def forward(self, x):
        return self.tail(self.outer(x))


class CellSpace(ModelSpace):
    """A cell of two nodes, each with an operator and an input; ``(batch, 1, 8, 8)`` to 10.

    With ``factories`` NNI's supernet of it is a ``PathSamplingCell``, which cannot be frozen;
    without, the cell stays and its choices inside become supernet modules.
    """

    def __init__(self, factories: bool = True):
        super().__init__()
        self.stem = nn.Conv2d(1, WIDTH, 3, padding=1)
        conv, skip = nn.Conv2d(WIDTH, WIDTH, 3, padding=1), nn.Identity()
        operators = {"conv": conv, "skip": skip}
        if factories:
            operators = {name: partial(_copied, module) for name, module in operators.items()}
        self.cell = Cell(
            operators,
            num_nodes=2,
            num_ops_per_node=1,
            num_predecessors=1,
            label="cell",
        )
        self.head = nn.Linear(2 * WIDTH, 10)

    def forward(self, x):
        return self.head(self.cell(self.stem(x)).mean((2, 3)))


def _copied(module: nn.Module, node: int, op: int, chosen: int | None) -> nn.Module:
    return copy.deepcopy(module)


class ConstrainedSpace(FlatSpace):
    """A flat space whose first two blocks must not take the same candidate."""

    def __init__(self, n_blocks: int = 3, n_candidates: int = 3):
        super().__init__(n_blocks, n_candidates)
        first, second = (Categorical(range(n_candidates), label=f"block_{n}") for n in (1, 2))
        self.add_mutable(ExpressionConstraint(first != second, label="differ"))

    def freeze(self, sample):  # NNI asks for it where add_mutable was called
        self.validate(sample)
        return recursive_freeze(self, sample, include_root=False)[0]


def small_mobilenet(**settings) -> MobileNetV3Space:
    """NNI's largest space on a small scale: 12 steps, of which two times three may be left out."""
    return MobileNetV3Space(
        10,
        base_widths=(8, 8, 8, 16, 16, 16),
        stride=(2, 1, 2, 2, 1, 1),
        activation=("relu",) * 6,
        depth_range=(1, 3),
        **{
            "width_multipliers": (0.5, 1.0, 2.0),
            "expand_ratios": (1.0, 2.0),
            "squeeze_excite": ("none", "optional", "force"),
            **settings,
        },
    )


def supernet(space: ModelSpace) -> ModelSpace:
    """Turn a space into NNI's path-sampling supernet, in place."""
    return RandomOneShot().mutate_model(space)


def set_path(net: nn.Module, sample: dict) -> None:
    """Route a supernet to a sample, with nothing of nni_magic."""
    for module in net.modules():
        if isinstance(module, BaseSuperNetModule):
            module.resample(memo=sample)


def n_children(space: ModelSpace) -> int:
    """Assignments of a space of ``Categorical`` labels."""
    return math.prod(len(mutable.values) for mutable in space.simplify().values())
