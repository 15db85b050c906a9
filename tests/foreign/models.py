"""Model spaces of projects that are not ours, as users of NNI write them; small."""

from __future__ import annotations

from collections import OrderedDict

import nni
import torch
from foreign.data import CLASSES, FEATURES
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
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint

WIDTH = 8


def dense(dropout=0.0):
    return OrderedDict(
        linear=nn.Linear(WIDTH, WIDTH),
        tanh=nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh(), nn.Dropout(dropout)),
        wide=nn.Sequential(nn.Linear(WIDTH, 2 * WIDTH), nn.ReLU(), nn.Linear(2 * WIDTH, WIDTH)),
    )


class Mlp(ModelSpace):
    """A plain chain of choice blocks; ``(batch, 6)`` to ``(batch, 3)``."""

    outputs = CLASSES
    shared = "b1", "linear"

    def __init__(self, dropout=0.1):
        super().__init__()
        self.stem = nn.Linear(FEATURES, WIDTH)
        self.blocks = nn.ModuleList(LayerChoice(dense(dropout), label=f"b{i}") for i in range(3))
        self.fc = nn.Linear(WIDTH, self.outputs)

    def features(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = x + block(x)
        return x

    def forward(self, x):
        return self.fc(self.features(x))


class OneOutput(Mlp):
    outputs = 1


class WritesIntoItsInput(Mlp):
    """Clips what it is given in place."""

    def forward(self, x):
        return super().forward(x.clamp_(-0.5, 0.5))


class WithFeatures(Mlp):
    """A tuple of two tensors."""

    def forward(self, x):
        hidden = self.features(x)
        return self.fc(hidden), hidden


class WithNone(Mlp):
    """A tuple with None in it, as models give that could give attention weights."""

    def forward(self, x, weights=False):
        hidden = self.features(x)
        return self.fc(hidden), (hidden if weights else None)


class DictOutput(Mlp):
    def forward(self, x):
        hidden = self.features(x)
        return {"logits": self.fc(hidden), "hidden": hidden}


class ByKeyword(Mlp):
    """Arguments by keyword only, one of them with a default."""

    def forward(self, *, features, scale=None):
        return super().forward(features if scale is None else features * scale)


def inner():
    return OrderedDict(
        linear=nn.Linear(WIDTH, WIDTH),
        wide=nn.Sequential(nn.Linear(WIDTH, 16), nn.ReLU(inplace=True), nn.Linear(16, WIDTH)),
        low=nn.Sequential(nn.Linear(WIDTH, 2), nn.Linear(2, WIDTH)),
    )


class InPlace(ModelSpace):
    """Activations that change their input, behind every choice block."""

    shared = "b1", "linear"

    def __init__(self):
        super().__init__()
        self.stem = nn.Linear(FEATURES, WIDTH)
        self.blocks = nn.ModuleList(LayerChoice(inner(), label=f"b{i}") for i in range(3))
        self.act = nn.ReLU(inplace=True)
        self.fc = nn.Linear(WIDTH, CLASSES)

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = self.act(block(x))
        return self.fc(x)


class Checkpointed(Mlp):
    """Saves memory by running every block again in the backward pass."""

    def features(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = x + checkpoint(block, x, use_reentrant=False)
        return x


class Constrained(Mlp):
    """Layers whose weights are computed from others: weight norm and spectral norm."""

    def __init__(self):
        super().__init__()
        parametrizations.weight_norm(self.stem)
        for i in range(3):
            candidates = dense()
            parametrizations.weight_norm(candidates["linear"])
            parametrizations.spectral_norm(candidates["wide"][0])
            self.blocks[i] = LayerChoice(candidates, label=f"b{i}")


class Outer(ModelSpace):
    """A space whose encoder is a space of its own, wrapped in a plain module."""

    shared = "b1", "linear"

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(OrderedDict(space=Mlp(0.0), norm=nn.LayerNorm(CLASSES)))
        self.last = LayerChoice([nn.Linear(CLASSES, CLASSES), nn.Identity()], label="last")

    def forward(self, x):
        return self.last(self.encoder(x))


class Tied(ModelSpace):
    """Two choice blocks with one label, and an output that shares the weights of the input."""

    shared = "both", "linear"

    def __init__(self):
        super().__init__()
        self.stem = nn.Linear(FEATURES, WIDTH)
        self.one = LayerChoice(dense(), label="both")
        self.two = LayerChoice(dense(), label="both")
        self.back = nn.Linear(WIDTH, WIDTH)
        third = dense()
        third["linear"].weight = self.back.weight
        self.third = LayerChoice(third, label="own")
        self.fc = nn.Linear(WIDTH, CLASSES)

    def forward(self, x):
        x = self.third(self.two(self.one(self.stem(x))))
        return self.fc(self.back(x))


class Nested(ModelSpace):
    """A choice block inside a candidate of another."""

    shared = "tail", "linear"

    def __init__(self):
        super().__init__()
        self.stem = nn.Linear(FEATURES, WIDTH)
        inner = LayerChoice(dense(), label="inner")
        self.outer = LayerChoice(
            OrderedDict(plain=nn.Linear(WIDTH, WIDTH), deep=nn.Sequential(inner, nn.ReLU())),
            label="outer",
        )
        self.tail = LayerChoice(dense(), label="tail")
        self.fc = nn.Linear(WIDTH, CLASSES)

    def forward(self, x):
        return self.fc(self.tail(self.outer(self.stem(x))))


class Deep(ModelSpace):
    """A number of layers that is chosen, and an operator in each."""

    shared = "op0", "tanh"

    def __init__(self):
        super().__init__()
        self.stem = nn.Linear(FEATURES, WIDTH)
        self.repeat = Repeat(lambda i: LayerChoice(dense(), label=f"op{i}"), (1, 3), label="depth")
        self.fc = nn.Linear(WIDTH, CLASSES)

    def forward(self, x):
        return self.fc(self.repeat(self.stem(x)))


class Wired(ModelSpace):
    """Inputs that are chosen: one of three, and two of three that are concatenated."""

    shared = "block", "linear"

    def __init__(self):
        super().__init__()
        self.stems = nn.ModuleList(nn.Linear(FEATURES, WIDTH) for _ in range(3))
        self.block = LayerChoice(dense(), label="block")
        self.one = InputChoice(n_candidates=3, n_chosen=1, label="one")
        self.two = InputChoice(n_candidates=3, n_chosen=2, reduction="sum", label="two")
        self.fc = nn.Linear(WIDTH, CLASSES)

    def forward(self, x):
        states = [stem(x) for stem in self.stems]
        return self.fc(self.block(self.one(states)) + self.two(states))


class DropPath(nn.Module):
    """Leaves the branch out for whole rows, in training."""

    def forward(self, x):
        if not self.training:
            return x
        keep = torch.rand(x.shape[0], *[1] * (x.dim() - 1), device=x.device) > 0.3
        return x.div(0.7) * keep


class Stochastic(Mlp):
    def __init__(self):
        super().__init__(0.0)
        self.drop = DropPath()

    def features(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = x + self.drop(block(x))
        return x


def conv(kernel, inplace=False):
    return nn.Sequential(
        nn.Conv2d(4, 4, kernel, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=inplace),
    )


class Cnn(ModelSpace):
    """Convolutions with BatchNorm and activations in place; ``(batch, 1, 8, 8)`` to 3."""

    shared = "b1", "c3"

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4))
        self.blocks = nn.ModuleList(
            LayerChoice(
                OrderedDict(c1=conv(1, True), c3=conv(3, True), skip=nn.Identity()), label=f"b{i}"
            )
            for i in range(3)
        )
        self.fc = nn.Linear(4, CLASSES)

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.fc(x.mean((2, 3)))


class SharedNorm(Cnn):
    """One BatchNorm behind every block."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = self.norm(block(x))
        return self.fc(x.mean((2, 3)))


class Widths(ModelSpace):
    """Channels and kernels that are chosen; kernels as tuples."""

    def __init__(self):
        super().__init__()
        width = nni.choice("width", [2, 4, 6])
        self.conv = MutableConv2d(1, width, 3, padding=1)
        self.norm = MutableBatchNorm2d(width)
        self.flat = MutableConv2d(width, 4, nni.choice("kernel", [(1, 1), (3, 3), (1, 3)]))
        self.hidden = MutableLinear(4, nni.choice("hidden", [4, 8]))
        self.fc = MutableLinear(nni.choice("hidden", [4, 8]), CLASSES)

    def forward(self, x):
        x = self.norm(self.conv(x)).relu()
        x = self.flat(x).relu().mean((2, 3))
        return self.fc(self.hidden(x))


class Cells(ModelSpace):
    """A cell, its operators made by functions as in NNI's hub."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.cell = Cell(
            {"c1": lambda node, op, i: conv(1), "c3": lambda node, op, i: conv(3),
             "skip": lambda node, op, i: nn.Identity()},
            num_nodes=2, num_ops_per_node=2, num_predecessors=1, merge_op="all", label="cell",
        )  # fmt: skip
        self.fc = nn.Linear(8, CLASSES)

    def forward(self, x):
        return self.fc(self.cell([self.stem(x)]).mean((2, 3)))


class Attention(nn.Module):
    """Gives weights beside its output only on demand."""

    def __init__(self, heads):
        super().__init__()
        self.inner = nn.MultiheadAttention(WIDTH, heads, batch_first=True)
        self.norm = nn.LayerNorm(WIDTH)

    def forward(self, x, mask):
        found, _ = self.inner(x, x, x, key_padding_mask=~mask, need_weights=False)
        return self.norm(x + found)


class FeedForward(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(WIDTH, 16), nn.GELU(), nn.Linear(16, WIDTH))
        self.norm = nn.LayerNorm(WIDTH)

    def forward(self, x, mask):
        return self.norm(x + self.inner(x))


class TextEncoder(ModelSpace):
    """Ids and a padding mask by keyword, as in transformers; ``(batch, 10)`` to 3."""

    shared = "l1", "h2"

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(20, WIDTH, padding_idx=0)
        self.layers = nn.ModuleList(
            LayerChoice(
                OrderedDict(h1=Attention(1), h2=Attention(2), ffn=FeedForward()), label=f"l{i}"
            )
            for i in range(3)
        )
        self.fc = nn.Linear(WIDTH, CLASSES)

    def forward(self, input_ids, attention_mask):
        x = self.embed(input_ids)
        for layer in self.layers:
            x = layer(x, attention_mask)
        weights = attention_mask[..., None].to(x.dtype)
        return self.fc((x * weights).sum(1) / weights.sum(1))


class Recurrent(ModelSpace):
    """Candidates that give a tuple: the states, and the last one."""

    shared = "mix", "linear"

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(20, WIDTH, padding_idx=0)
        self.layers = nn.ModuleList(
            LayerChoice(
                OrderedDict(
                    gru=nn.GRU(WIDTH, WIDTH, batch_first=True),
                    rnn=nn.RNN(WIDTH, WIDTH, batch_first=True),
                ),
                label=f"l{i}",
            )
            for i in range(2)
        )
        self.mix = LayerChoice(dense(), label="mix")
        self.fc = nn.Linear(WIDTH, CLASSES)

    def forward(self, input_ids, attention_mask):
        x = self.embed(input_ids)
        for layer in self.layers:
            x, last = layer(x)
        return self.fc(F.relu(self.mix(x)).mean(1) + last[-1].mean() * 0.01)
