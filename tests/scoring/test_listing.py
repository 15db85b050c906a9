"""Children as a strategy lists them: frozen, with their score, and statistics of their own."""

import pytest
import torch
from nni.nas.evaluator.pytorch import Classification
from nni.nas.space import RawFormatModelSpace
from spaces import ConvSpace, FlatSpace, supernet
from training import QUIET, bert

from nni_magic.scoring.listing import listed
from nni_magic.support.compat import freeze

CHILD = {"block_1": "conv3", "block_2": "drop", "block_3": "skip", "block_4": "conv1"}


def space_of(net):
    return RawFormatModelSpace.from_model(net, Classification(num_classes=10, **QUIET))


def refuse(sample):
    raise AssertionError("there is no BatchNorm to have statistics of")


def test_child_without_batchnorm_is_frozen_by_nni_and_shares_its_weights():
    net = supernet(FlatSpace())
    child = {"block_1": 0, "block_2": 2, "block_3": 1}
    model = listed(space_of(net), child, 0.25, refuse)
    assert (model.metric, model.sample) == (0.25, child)
    assert model.status.frozen()
    made = model.executable_model()
    assert made.blocks[1].weight is net.blocks[1][2].weight
    x = torch.randn(3, 4)
    by_hand = x
    for block, choice in zip(net.blocks, child.values(), strict=True):
        by_hand = torch.tanh(block[choice](by_hand))
    torch.testing.assert_close(made(x), by_hand)


def test_child_with_batchnorm_is_made_when_it_is_asked_for():
    net, asked = supernet(ConvSpace()), []

    def calibrated(sample):
        asked.append(sample)
        return freeze(net, sample)

    model = listed(space_of(net), CHILD, 0.5, calibrated)
    assert (model.metric, model.sample, asked) == (0.5, CHILD, [])
    assert model.status.frozen()
    made = model.executable_model()
    assert asked == [CHILD]
    assert made.blocks[0][0].kernel_size == (3, 3)


@pytest.mark.parametrize(
    ("space", "sample"), [(ConvSpace, CHILD), (bert, dict.fromkeys(bert().simplify(), "ffn"))]
)
def test_space_is_not_changed_by_its_children(space, sample):
    whole = space_of(supernet(space()))
    first = listed(whole, sample, 1.0, lambda sample: None)
    second = listed(whole, sample, 2.0, lambda sample: None)
    assert (first.metric, second.metric, whole.metric) == (1.0, 2.0, None)
    assert not whole.status.frozen()
