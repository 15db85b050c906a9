"""The Pareto front: which children are on it by the definition, and its files."""

import csv
import struct
import sys

import numpy as np
import pytest

from nni_magic.scoring.scored import ScoredChild
from nni_magic.search.front import ParetoFront, PricedChild, non_dominated

NAN, INF = float("nan"), float("inf")
COST_NAMES = ["parameters (M)", "latency (ms)"]


def priced(n, score, costs):
    return PricedChild(ScoredChild({"a": n, "b": [n, "x"]}, score), f"name{n}", costs)


@pytest.fixture
def front():
    points = [(3.0, (1.0, 5.0)), (2.0, (2.0, 9.0)), (2.5, (3.0, 1.0)), (9.0, (3.0, 9.0))]
    children = [priced(n, score, costs) for n, (score, costs) in enumerate(points)]
    return ParetoFront(children[::-1], COST_NAMES, "min")


def kept_by_definition(points):
    """One pair after the other."""

    def dominates(a, b):
        return all(x <= y for x, y in zip(a, b, strict=True)) and a != b

    return sorted(p for p in points if not any(dominates(q, p) for q in points))


@pytest.mark.parametrize("n_objectives", [1, 2, 3])
def test_non_dominated_is_what_the_definition_says(n_objectives):
    rng = np.random.default_rng(n_objectives)
    objectives = rng.integers(6, size=(60, n_objectives)).astype(float)  # with ties and repeats
    kept = [tuple(row) for row in objectives[non_dominated(objectives)]]
    assert sorted(kept) == kept_by_definition([tuple(row) for row in objectives])
    assert non_dominated(np.empty((0, 2))).tolist() == []


@pytest.mark.parametrize(("mode", "wanted"), [("min", [0, 1, 2]), ("max", [0, 2, 3])])
def test_children_on_the_front_are_sorted_by_cost(front, mode, wanted):
    found = ParetoFront(front.scored, COST_NAMES, mode).children
    assert [child.sample["a"] for child in found] == wanted


def test_a_child_knows_its_sample_and_score():
    child = priced(7, 1.5, (2.0, 3.0))
    assert (child.sample, child.score) == (child.child.sample, child.child.score)
    assert (child.sample, child.score) == ({"a": 7, "b": [7, "x"]}, 1.5)


@pytest.mark.parametrize(
    ("score", "costs"), [(NAN, (1.0, 1.0)), (-INF, (1.0, 1.0)), (0.0, (1.0, INF))]
)
def test_children_that_are_not_finite_are_left_out_and_named(front, score, costs):
    bad = priced(4, score, costs)
    found = ParetoFront([bad, *front.scored], COST_NAMES, "min")
    assert found.children == front.children
    assert (found.failed, front.failed) == (["name4"], [])


# Files


def test_csv_holds_the_front_by_cost(front, tmp_path):
    front.write_csv(tmp_path / "front.csv")
    with open(tmp_path / "front.csv", newline="") as file:
        assert list(csv.reader(file)) == [
            ["child", "score", "parameters (M)", "latency (ms)", "a", "b"],
            ["name0", "3.0", "1.0", "5.0", "0", "[0, 'x']"],
            ["name1", "2.0", "2.0", "9.0", "1", "[1, 'x']"],
            ["name2", "2.5", "3.0", "1.0", "2", "[2, 'x']"],
        ]


def drawn(front, monkeypatch, tmp_path, **settings):
    """The axes of a plot and the size of its PNG."""
    from matplotlib.figure import Figure

    figures = []
    savefig = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig",
        lambda figure, *args, **kwargs: (figures.append(figure), savefig(figure, *args, **kwargs)),
    )  # fmt: skip
    path = tmp_path / "front.png"
    front.plot(path, **settings)
    header = path.read_bytes()[:24]
    assert header[:8] == b"\x89PNG\r\n\x1a\n"
    return figures[0].axes[0], struct.unpack(">II", header[16:])


@pytest.mark.parametrize(
    ("settings", "label", "line"),
    [
        ({}, "parameters (M)", [(1.0, 3.0), (2.0, 2.0)]),
        ({"cost": "latency (ms)"}, "latency (ms)", [(1.0, 2.5), (9.0, 2.0)]),
    ],
)
def test_plot_shows_all_children_and_the_front(front, settings, label, line, monkeypatch, tmp_path):
    axes, size = drawn(front, monkeypatch, tmp_path, score_label="loss (nats)", **settings)
    assert min(size) > 600
    assert (axes.get_xlabel(), axes.get_ylabel()) == (label, "loss (nats)")
    assert len(axes.collections[0].get_offsets()) == 4
    steps, markers = axes.lines
    assert [tuple(xy) for xy in steps.get_xydata()] == line
    assert steps.get_drawstyle() == "steps-post"
    assert len(markers.get_xydata()) == 3
    texts = [text.get_text() for text in axes.get_legend().get_texts()]
    assert texts == ["scored children (4)", "Pareto front (3)"]


def test_front_without_children_has_a_head_and_no_picture(tmp_path):
    front = ParetoFront([priced(0, NAN, (1.0, 2.0))], COST_NAMES, "min")
    front.write_csv(tmp_path / "front.csv")
    head = "child,score,parameters (M),latency (ms)"
    assert (tmp_path / "front.csv").read_text().splitlines() == [head]
    with pytest.raises(ValueError, match="there is no front to draw"):
        front.plot(tmp_path / "front.png", score_label="loss")


# Errors


def test_unknown_cost_is_refused(front, tmp_path):
    message = r"cost is 'FLOPs'; accepted are 'parameters \(M\)', 'latency \(ms\)'"
    with pytest.raises(ValueError, match=message):
        front.plot(tmp_path / "front.png", score_label="loss", cost="FLOPs")


def test_missing_matplotlib_says_how_to_get_it(front, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ModuleNotFoundError, match=r"matplotlib: pip install nni-magic\[plots\]"):
        front.plot(tmp_path / "front.png", score_label="loss")
