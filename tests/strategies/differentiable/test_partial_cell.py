"""A cell's mixture with weights of its edges: against loops, and the child of the products."""

import math

import pytest
import torch
from mixtures import make
from spaces import CellSpace

torch.set_num_threads(1)


@pytest.fixture
def cell():
    """Of two nodes and two operators, on the first two of four channels."""
    torch.manual_seed(0)
    strategy = make("pc_darts")
    strategy.mutate_model(CellSpace())
    for parameter in strategy.architecture.parameters:
        parameter.data.copy_(torch.randn(parameter.shape))
    return strategy.mixture.cell


def softmax(parameter):
    raised = [math.exp(float(each)) for each in parameter]
    return [each / sum(raised) for each in raised]


def edge(cell, x, i, j):
    """Operators on two channels, the other two by, shuffled."""
    weights = softmax(cell._arch_alpha[f"cell/{i}_{j}"])
    convolution = cell.ops[i - 1][j]["conv"].operator
    mixed = weights[0] * convolution(x[:, :2]) + weights[1] * x[:, :2]
    return torch.stack([mixed[:, 0], x[:, 2], mixed[:, 1], x[:, 3]], 1)


def test_node_is_the_weighted_sum_of_its_edges(cell):
    x = torch.randn(2, 4, 5, 5)
    with torch.no_grad():
        first = edge(cell, x, 1, 0)  # one edge: its weight is 1
        beta = softmax(cell._arch_alpha["cell/2"])
        second = beta[0] * edge(cell, x, 2, 0) + beta[1] * edge(cell, first, 2, 1)
        torch.testing.assert_close(cell(x), torch.cat([first, second], 1))


def test_child_has_the_largest_product_of_both_weights(cell):
    with torch.no_grad():
        cell._arch_alpha["cell/2"].copy_(torch.tensor([0.0, 3.0]))
        cell._arch_alpha["cell/2_0"].copy_(torch.tensor([5.0, 0.0]))
        cell._arch_alpha["cell/2_1"].copy_(torch.tensor([0.0, 1.0]))
    found = cell.export({})
    # 0.05 * 0.99 at the first edge is less than 0.95 * 0.73 at the second.
    assert (found["cell/op_2_0"], found["cell/input_2_0"]) == ("skip", [1])


def test_cells_of_one_label_have_the_same_weights():
    class Two(CellSpace):
        def __init__(self):
            super().__init__()
            self.other = CellSpace().cell

    strategy = make("pc_darts")
    strategy.mutate_model(Two())
    cell, other = strategy.mixture.cell, strategy.mixture.other
    assert cell is not other
    assert all(other._arch_alpha[name] is own for name, own in cell._arch_alpha.items())
