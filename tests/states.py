"""A convolutional supernet on a path, and small things to look at its hidden states with."""

import torch
from spaces import ConvSpace, FlatSpace, set_path, supernet

IMAGES = torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
CONVS = {"block_1": "conv1", "block_2": "drop", "block_3": "conv3", "block_4": "skip"}


def conv_net(sample=CONVS, **kwargs):
    torch.manual_seed(0)
    net = supernet(ConvSpace(**kwargs))
    set_path(net, sample)
    return net


def running(net):
    """A copy of the buffers of all norms."""
    return {name: buffer.clone() for name, buffer in net.named_buffers()}


def assert_same(a, b):
    assert a.keys() == b.keys() and a
    assert all(torch.equal(a[name], b[name]) for name in a)


class Reversed(FlatSpace):
    """Registers its blocks in the order opposite to that in which they run."""

    def forward(self, x):
        for block in reversed(self.blocks):
            x = block(x)
        return x


class Listed(ConvSpace):
    """Says itself what its layers are."""

    def hidden_layers(self):
        return [self.stem, *self.blocks]
