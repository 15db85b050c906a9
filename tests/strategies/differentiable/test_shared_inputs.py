"""Candidates of a mixture that write into what they are given."""

import itertools

import pytest
import torch
from mixtures import make, regression
from nni.mutable import Categorical
from nni.nas.nn.pytorch import Cell, LayerChoice, ModelSpace, Repeat
from torch import nn
from training import train

torch.set_num_threads(1)


class Layers(ModelSpace):
    def __init__(self, inplace):
        super().__init__()
        self.first = nn.Linear(4, 4)
        written = nn.Sequential(nn.ReLU(inplace=inplace), nn.Linear(4, 4))
        self.layer = LayerChoice({"plain": nn.Linear(4, 4), "relu": written}, label="layer")

    def forward(self, x):
        return self.layer(self.first(x))


class Blocks(ModelSpace):
    """Of a depth of 2 or 3: what the second block gives is also given by the whole."""

    def __init__(self, inplace):
        super().__init__()
        self.blocks = Repeat(
            lambda i: nn.Sequential(nn.ReLU(inplace=inplace == i), nn.Linear(4, 4)),
            Categorical([2, 3], label="depth"),
        )

    def forward(self, x):
        return self.blocks(x * 1.0)


class Cells(ModelSpace):
    def __init__(self, inplace):
        super().__init__()
        self.first = nn.Conv1d(4, 4, 1)
        self.cell = Cell(
            {
                "plain": lambda *_: nn.Conv1d(4, 4, 1),
                "relu": lambda *_: nn.Sequential(nn.ReLU(inplace=inplace), nn.Conv1d(4, 4, 1)),
            },
            num_nodes=1, num_ops_per_node=1, num_predecessors=1, label="cell",
        )  # fmt: skip

    def forward(self, x):
        return self.cell([self.first(x[..., None])])[..., 0]


MIXED = ("gaea", "gaea_single", "gaea_gdas", "darts", "drop_nas", "gumbel_darts")
WRITE = {
    Layers: (True, "candidate 'relu' of 'layer'"),
    Blocks: (2, "block 2 of the Repeat 'depth'"),
    Cells: (True, "candidate 'relu' of 'cell'"),
}


@pytest.mark.parametrize(
    ("variant", "space"),
    [*itertools.product(MIXED, WRITE), ("pc_darts", Cells), ("gaea_pc_darts", Cells)],
)
def test_what_writes_is_named_before_the_first_step(variant, space):
    inplace, name = WRITE[space]
    evaluator = regression()
    with pytest.raises(ValueError, match=f"^{name} writes into what it is given, which others"):
        train(make(variant), space(inplace), evaluator)
    assert evaluator.trainer.global_step == 0


def test_a_path_that_computes_alone_may_write():
    evaluator = regression()
    train(make("proxyless_nas"), Layers(True), evaluator)
    assert evaluator.trainer.global_step == 1


@pytest.mark.parametrize("space", WRITE)
def test_what_leaves_its_input_trains(space):
    evaluator = regression()
    train(make("gaea"), space(9 if space is Blocks else False), evaluator)
    assert evaluator.trainer.global_step == 1


@pytest.mark.parametrize("block", [0, 1])
def test_blocks_that_every_depth_has_may_write(block):
    evaluator = regression()
    train(make("gaea"), Blocks(block), evaluator)
    assert evaluator.trainer.global_step == 1


def test_nothing_is_asked_without_gradient():
    strategy = make("gaea")
    strategy.mutate_model(Layers(True))
    x = torch.randn(2, 4)
    with torch.no_grad():
        strategy.mixture(x)
    with pytest.raises(ValueError, match="candidate 'relu' of 'layer' writes"):
        strategy.mixture(x)
