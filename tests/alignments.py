"""A supernet whose hidden states are aligned to a child's, and the same states by hand."""

import numpy as np
import torch
from spaces import ConvSpace, set_path, supernet

from nni_magic.losses.alignment import Alignment
from nni_magic.losses.replay import CallReplay
from nni_magic.losses.targets import Target
from nni_magic.supernet.hidden_states import recorded
from nni_magic.supernet.step import Step, Turn

IMAGES = torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(6)
CHILD = {"block_1": "conv3", "block_2": "conv1", "block_3": "skip", "block_4": "conv1"}
ANCHOR = {"block_1": "conv1", "block_2": "conv1", "block_3": "drop", "block_4": "conv3"}


class Fixed(Target):
    """Always the same child."""

    ready = True

    def __init__(self, sample):
        self.sample = sample

    def renew(self):
        raise NotImplementedError

    def states(self, replay):
        return replay(self.sample)


class Run:
    """A supernet with its alignment, and a turn of a training step."""

    def __init__(self, net, names, target=ANCHOR, gradient=False, **kwargs):
        self.net = net.train()
        self.routed = []
        layers = {name: net.get_submodule(name) for name in names}
        self.replay = CallReplay(net, layers, self, gradient=gradient)
        self.alignment = Alignment(Fixed(target), weight=0.5, **kwargs)
        self.alignment.attach(self.replay)

    def set(self, sample):
        """Stands for the router."""
        self.routed.append(sample)
        set_path(self.net, sample)

    def observe(self, *args, child=CHILD, **kwargs):
        return self.observe_calls((args, kwargs), child=child)[-1]

    def observe_calls(self, *inputs, child=CHILD):
        set_path(self.net, child)
        with recorded(self.net, self.alignment.layers) as calls:
            outputs = [self.net(*args, **kwargs) for args, kwargs in inputs]
        turn = Turn(child)
        self.step = Step([turn], [torch.zeros(())], [calls])
        return outputs

    def term(self, *args, child=CHILD, **kwargs):
        self.observe(*args, child=child, **kwargs)
        return self.of_step()

    def of_step(self):
        return self.alignment(self.step, self.step.turns[-1])


def conv_run(names=("blocks.1", "blocks.3"), dropout=0.5, **kwargs):
    torch.manual_seed(0)
    return Run(supernet(ConvSpace(dropout=dropout)), names, **kwargs)


def hidden(net, sample, depth):
    """Hidden states by hand, behind every block; dropout is zero where this is used."""
    set_path(net, sample)
    x, found = net.stem(IMAGES), []
    for block in net.blocks[:depth]:
        found.append(x := block(x))
    return found


def buffers(net):
    return {name: buffer.clone() for name, buffer in net.named_buffers()}


def with_gradient(net):
    return {name for name, p in net.named_parameters() if p.grad is not None and p.grad.any()}


def numpy_loss(target, states, mask=None):
    """Eq. 1 spelled out: element by element, padding left out of error and mean."""
    total = 0.0
    for name in states:
        a, b = target[name].double().numpy(), states[name].double().numpy()
        errors = []
        for index in np.ndindex(a.shape):
            if mask is None or mask[index[: mask.dim()]]:
                errors.append((a[index] - b[index]) ** 2)
        total += np.mean(errors) if errors else 0.0
    return total
