"""Find the cells of a space by their labels, and draw what a child has chosen in them as graphs."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from nni.mutable import Sample
from nni.nas.nn.pytorch import ModelSpace

from .drawing import GAP, HEAD, INK, MARGIN, PALE, PLAIN, WIDTH, Style, write

__all__ = ["CellGraph", "Edge", "cell_graphs", "draw_cell", "graph_width"]

OF_NODE = re.compile(r"(?:(?P<cell>.*)/)?op_(?P<node>\d+)_(?P<place>\d+)")
OF_EDGE = re.compile(r"(?:(?P<cell>.*)/)?(?P<start>\d+)_(?P<end>\d+)")

STEP = WIDTH + GAP  # from node to node
LEVEL = 0.42  # height of an edge to the next node
RADIUS, BOX = 0.16, 0.27  # of a node; height of a candidate's box


class Edge(NamedTuple):
    """A choice block between two nodes of a cell, counted from 0 with the cell's inputs first."""

    start: int
    end: int
    label: str
    place: int = 0
    """Which of its node's edges, where a node chooses its inputs."""


@dataclass(frozen=True)
class CellGraph:
    """What a child is in all cells of a label.

    Parameters
    ----------
    name
        Label of the cells.
    inputs
        How many of the nodes are inputs: the first ones.
    edges
        One for every operator.
    outputs
        Nodes that make the cell's output.
    labels
        All labels that the graph shows.
    """

    name: str
    inputs: int
    edges: tuple[Edge, ...]
    outputs: tuple[int, ...]
    labels: frozenset[str]

    @property
    def nodes(self) -> int:
        """How many nodes there are, inputs among them."""
        return 1 + max(edge.end for edge in self.edges)


def cell_graphs(
    space: ModelSpace, choices: Mapping[str, Sequence[Any]], sample: Sample
) -> list[CellGraph]:
    """Find NNI's cells: ``Cell``, as in NNI's hub, and that of NAS-Bench-201.

    In the first, every node chooses its operators and their inputs; in the second, every pair of
    nodes has an operator.
    """
    loose = {
        str(getattr(module, "label", ""))
        for module in space.modules()
        if getattr(module, "merge_op", "all") == "loose_end"
    }
    by_node: dict[str, list[Edge]] = {}
    by_edge: dict[str, list[Edge]] = {}
    for label in choices:
        if found := OF_NODE.fullmatch(label):
            edge = _chosen(found, choices, sample)
            by_node.setdefault(found["cell"] or "", []).append(edge)
        elif found := OF_EDGE.fullmatch(label):
            edge = Edge(int(found["start"]), int(found["end"]), label)
            by_edge.setdefault(found["cell"] or "", []).append(edge)
    graphs = [_of_nodes(name, edges, name in loose) for name, edges in by_node.items()]
    graphs += [_of_edges(name, edges) for name, edges in by_edge.items()]
    return [graph for graph in graphs if graph is not None]


def _chosen(found: re.Match[str], choices: Mapping[str, Any], sample: Sample) -> Edge:
    """An operator with the input that it has; -1 where it chooses none."""
    label, node = found.string, int(found["node"])
    at = _input_label(label)
    starts = [choice[0] if isinstance(choice, list) else choice for choice in choices.get(at, ())]
    if starts != list(range(node)):
        return Edge(-1, node, label)
    chosen = sample[at]
    return Edge(chosen[0] if isinstance(chosen, list) else chosen, node, label, int(found["place"]))


def _input_label(label: str) -> str:
    cell, slash, own = label.rpartition("/")
    return cell + slash + own.replace("op_", "input_", 1)


def _of_nodes(name: str, edges: Sequence[Edge], loose: bool) -> CellGraph | None:
    starts = {edge.start for edge in edges}
    if -1 in starts:
        return None
    nodes = sorted({edge.end for edge in edges})
    labels = {edge.label for edge in edges} | {_input_label(edge.label) for edge in edges}
    outputs = tuple(node for node in nodes if not (loose and node in starts))
    return CellGraph(name, nodes[0], tuple(edges), outputs, frozenset(labels))


def _of_edges(name: str, edges: Sequence[Edge]) -> CellGraph | None:
    last = max(edge.end for edge in edges)
    pairs = {(start, end) for end in range(1, last + 1) for start in range(end)}
    if last < 2 or {(edge.start, edge.end) for edge in edges} != pairs:
        return None  # a single pair may be anything
    return CellGraph(name, 1, tuple(edges), (last,), frozenset(edge.label for edge in edges))


def graph_width(graph: CellGraph) -> float:
    """Width of a graph's drawing in inches."""
    return graph.nodes * STEP - GAP


def draw_cell(
    axes: Any, graph: CellGraph, sample: Sample, styles: Mapping[str, Style], top: float
) -> float:
    """Draw nodes in a row and operators on arcs between them; give where the drawing ends.

    The first operator of a node is above the row, the second below, and so on.
    """
    levels = _levels(graph.edges)
    above, below = (
        max([level for edge, level in levels.items() if edge.place % 2 == side], default=0)
        for side in (0, 1)
    )
    _write_title(axes, graph, top + HEAD)
    y = top + HEAD + 0.32 + above * LEVEL + BOX
    for edge, level in levels.items():
        _draw_edge(axes, edge, level, str(sample[edge.label]), styles, y)
    for node in range(graph.nodes):
        _draw_node(axes, node, graph, y)
    return y + RADIUS + below * LEVEL + (BOX if below else 0)


def _levels(edges: Sequence[Edge]) -> dict[Edge, int]:
    """How high every edge goes: a level for each node that it spans, more where boxes overlap."""
    levels: dict[Edge, int] = {}
    taken: set[tuple[int, int, int]] = set()
    for edge in edges:
        level, middle, side = edge.end - edge.start, edge.start + edge.end, edge.place % 2
        while any((side, level, middle + by) in taken for by in (-1, 0, 1)):
            level += 1
        taken.add((side, level, middle))
        levels[edge] = level
    return levels


def _x(node: float) -> float:
    return MARGIN + WIDTH / 2 + node * STEP


def _write_title(axes: Any, graph: CellGraph, y: float) -> None:
    nodes = ", ".join(map(str, graph.outputs))
    title = f"{graph.name or 'cell'}: output of node{'s' * (len(graph.outputs) > 1)} {nodes}"
    write(axes, MARGIN, y, title, size=9, width=graph_width(graph), align="left")


def _draw_edge(
    axes: Any, edge: Edge, level: int, choice: str, styles: Mapping[str, Style], y: float
) -> None:
    from matplotlib.patches import FancyBboxPatch

    down = -1 if edge.place % 2 == 0 else 1
    middle, reach = _x((edge.start + edge.end) / 2), (edge.end - edge.start) * STEP / 2
    angles = [math.pi * n / 48 for n in range(49)]
    xs = [middle - reach * math.cos(angle) for angle in angles]
    ys = [y + down * (RADIUS + LEVEL * level * math.sin(angle)) for angle in angles]
    axes.plot(xs, ys, color=PALE, lw=1.1, zorder=1)
    axes.annotate("", (xs[-1], ys[-1]), (xs[-4], ys[-4]), arrowprops={
        "arrowstyle": "-|>", "color": PALE, "lw": 1.1, "shrinkA": 0, "shrinkB": 0})  # fmt: skip
    centre, style = y + down * (RADIUS + LEVEL * level), styles[choice]
    axes.add_patch(
        FancyBboxPatch(
            (middle - WIDTH / 2, centre - BOX / 2), WIDTH, BOX, zorder=3,
            boxstyle="round,pad=0,rounding_size=0.06", **style.patch(),
        )
    )  # fmt: skip
    write(axes, middle, centre, choice, size=8, width=WIDTH - 0.1, color=style.ink)


def _draw_node(axes: Any, node: int, graph: CellGraph, y: float) -> None:
    from matplotlib.patches import Circle

    fill = "white" if node < graph.inputs else PLAIN
    axes.add_patch(Circle((_x(node), y), RADIUS, facecolor=fill, edgecolor=INK, zorder=3))
    write(axes, _x(node), y, str(node), size=8, width=2 * RADIUS)
