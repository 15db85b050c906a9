"""Cells of NNI's spaces as graphs: what is found, and how it is drawn."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from nni.nas.hub.pytorch import DARTS, NasBench201
from nni.nas.nn.pytorch import Cell, ModelSpace
from torch import nn

from nni_magic.children.samples import candidates, random_sample
from nni_magic.export.cell_graphs import cell_graphs
from nni_magic.export.pictures import draw_architecture
from tests.spaces import CellSpace, FlatSpace, MixedSpace, supernet


def graphs(space, sample=None, seed=0):
    choices = candidates(space)
    sample = sample or random_sample(choices, np.random.default_rng(seed))
    return cell_graphs(space, choices, sample), sample


def test_darts_has_two_cells_of_eight_operators():
    found, sample = graphs(DARTS(width=16, num_cells=8, dataset="cifar"))
    assert [graph.name for graph in found] == ["normal", "reduce"]
    for graph in found:
        assert (graph.inputs, graph.nodes, graph.outputs) == (2, 6, (2, 3, 4, 5))
        assert [(edge.end, edge.place) for edge in graph.edges] == [
            (node, place) for node in (2, 3, 4, 5) for place in (0, 1)
        ]
        for edge in graph.edges:
            assert [edge.start] == sample[f"{graph.name}/input_{edge.end}_{edge.place}"]
    assert set().union(*(graph.labels for graph in found)) == set(sample)


def test_nasbench201_has_an_operator_between_all_nodes():
    [graph], _ = graphs(NasBench201())
    assert (graph.inputs, graph.nodes, graph.outputs) == (1, 4, (3,))
    assert sorted(edge[:2] for edge in graph.edges) == [
        (0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3),
    ]  # fmt: skip


class LooseEnds(ModelSpace):
    def __init__(self):
        super().__init__()
        self.cell = Cell({"a": nn.Identity(), "b": nn.Identity()}, 3, merge_op="loose_end",
                         label="loose")  # fmt: skip


@pytest.mark.parametrize(("inputs", "outputs"), [((0, 1, 2), (3,)), ((0, 0, 0), (1, 2, 3)),
                                                 ((0, 1, 1), (2, 3))])  # fmt: skip
def test_loose_ends_are_the_nodes_that_no_other_reads(inputs, outputs):
    sample = {f"loose/op_{node}_0": "a" for node in (1, 2, 3)}
    sample |= {f"loose/input_{node}_0": [start] for node, start in enumerate(inputs, 1)}
    [graph], _ = graphs(LooseEnds(), sample)
    assert graph.outputs == outputs


@pytest.mark.parametrize("space", [FlatSpace, MixedSpace])
def test_other_spaces_have_no_cells(space):
    assert graphs(space())[0] == []


def test_labels_of_an_operator_alone_are_no_cell():
    choices = {"op_1_0": ["a", "b"], "0_1": ["a", "b"], "x/0_1": ["a"], "x/0_2": ["a"]}
    assert cell_graphs(FlatSpace(), choices, {label: "a" for label in choices}) == []


def shapes(figure, kind):
    return [patch for patch in figure.axes[0].patches if type(patch).__name__ == kind]


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """Draw a child, and give figure and sample."""
    figures, save = [], Figure.savefig

    def savefig(figure, *args, **kwargs):
        figures.append(figure)
        save(figure, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", savefig)

    def draw(space, seed=0):
        sample = random_sample(candidates(space), np.random.default_rng(seed))
        draw_architecture(space, sample, tmp_path / "child.png")
        return figures[-1], sample

    return draw


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("space", [lambda: DARTS(width=16, num_cells=8, dataset="cifar"),
                                   NasBench201, CellSpace])  # fmt: skip
def test_every_operator_has_a_box_and_every_node_a_circle_and_none_overlap(space, seed, drawn):
    space = space()
    figure, sample = drawn(space, seed)
    found = cell_graphs(space, candidates(space), sample)
    names = [str(sample[edge.label]) for graph in found for edge in graph.edges]
    boxes = [patch.get_bbox() for patch in shapes(figure, "FancyBboxPatch")]
    circles = [patch.get_extents() for patch in shapes(figure, "Circle")]
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert len(boxes) == len(names) and all(
        texts.count(name) >= names.count(name) for name in names
    )
    assert len(circles) == sum(graph.nodes for graph in found)
    for i, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:i])


def test_supernet_whose_cell_is_one_module_is_drawn_like_the_space(tmp_path):
    sample = {"cell/op_1_0": "conv", "cell/input_1_0": [0], "cell/op_2_0": "skip",
              "cell/input_2_0": [1]}  # fmt: skip
    for name, space in (("plain", CellSpace(factories=True)),
                        ("supernet", supernet(CellSpace(factories=True)))):  # fmt: skip
        draw_architecture(space, sample, tmp_path / f"{name}.png")
    assert (tmp_path / "plain.png").read_bytes() == (tmp_path / "supernet.png").read_bytes()
