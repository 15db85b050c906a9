"""Buffers that come back as they were."""

import torch
from torch import nn

from nni_magic.supernet.buffers import KeptBuffers


def net():
    made = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.BatchNorm1d(3, momentum=None))
    made.register_buffer("absent", None)
    made.register_buffer("queue", torch.zeros(2))
    return made


def state(module):
    return {name: buffer.clone() for name, buffer in module.named_buffers()}


def test_buffers_are_those_that_were_kept_last():
    module = net()
    kept = KeptBuffers(module)
    kept.keep()
    module(torch.randn(5, 3))
    kept.keep()
    before = state(module)
    module(torch.full((5, 3), torch.nan))
    module.queue = torch.ones(2)
    assert module[1].running_mean.isnan().all()
    kept.restore()
    after = state(module)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_only_layers_that_have_run_are_copied_anew():
    module = net()
    kept = KeptBuffers(module)
    kept.keep()
    before = [layer._copies for layer in kept._kept]
    module[1](torch.randn(5, 3))
    kept.keep()
    anew = [a is not b for a, b in zip(before, (k._copies for k in kept._kept), strict=True)]
    assert anew == [False, True, False]  # the net's own, the first norm's, the second's
