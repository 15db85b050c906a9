"""Weights that children share: which parameters they are, and when there are none."""

import pytest
from nni.nas.nn.pytorch import LayerChoice
from scores import trained
from spaces import CellSpace, ChainSpace, FlatSpace, MixedSpace
from torch import nn

from nni_magic.analysis.shared_weights import shared_weights, trainable_weights

CHAIN = dict.fromkeys([f"block_{n}" for n in range(1, 5)], "conv3")
MIXED = {"depth": 1, "op_1": "conv3", "op_2": "skip", "op_3": "conv1", "kernel": 3, "inputs": [1]}


def is_same(found, expected):
    """Whether two lists hold the very same parameters."""
    return [id(p) for p in found] == [id(p) for p in expected]


def test_weights_are_those_of_the_candidate_in_the_supernet():
    net = trained(ChainSpace)
    found = shared_weights(net, "block_2", [CHAIN, {**CHAIN, "block_3": "drop"}])
    assert is_same(found, net.layers[1].operator["conv3"].parameters())


def test_frozen_weights_are_left_out():
    net = trained(ChainSpace)
    candidate = net.layers[1].operator["conv3"]
    candidate[0].weight.requires_grad_(False)
    kept = [p for p in candidate.parameters() if p is not candidate[0].weight]
    assert kept and is_same(trainable_weights([net.layers[1].operator], "conv3"), kept)


class SharedLabel(FlatSpace):
    """Its last block has the label of its first one."""

    def __init__(self):
        super().__init__()
        self.blocks.append(LayerChoice([nn.Linear(4, 4) for _ in range(3)], label="block_1"))


def test_blocks_of_one_label_count_together():
    net = trained(SharedLabel)
    child = {"block_1": 2, "block_2": 0, "block_3": 0}
    both = [*net.blocks[0][2].parameters(), *net.blocks[3][2].parameters()]
    assert is_same(shared_weights(net, "block_1", [child]), both)


def cell_child(**inputs):
    return {"cell/op_1_0": "conv", "cell/input_1_0": [0], "cell/op_2_0": "conv",
            "cell/input_2_0": [inputs.get("input_2", 1)]}  # fmt: skip


@pytest.mark.parametrize(("space", "label", "children", "message"), [
    (ChainSpace, "block_9", [CHAIN], r"label is 'block_9'; accepted are the choice blocks \['blo"),
    (ChainSpace, "block_2", [CHAIN, {**CHAIN, "block_2": "conv1"}],
     r"children do not share a candidate: in 'block_2' they have \['conv3', 'conv1'\]"),
    (ChainSpace, "block_2", [{**CHAIN, "block_2": "skip"}] * 2,
     "candidate 'skip' of 'block_2' has no weights to train, and so no gradient"),
    (MixedSpace, "op_3", [MIXED], "choice block 'op_3' is not part of the child {'depth': 1"),
    (CellSpace, "cell/op_2_0", [cell_child(), cell_child(input_2=0)],
     "'conv' of 'cell/op_2_0' has other weights for every input of the cell"),
])  # fmt: skip
def test_children_that_share_no_weights_are_refused(space, label, children, message):
    with pytest.raises(ValueError, match=message):
        shared_weights(trained(space), label, children)
