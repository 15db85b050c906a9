"""The history of a shrinking as a table and as a picture."""

import csv
import math
import sys

import numpy as np
import pytest

from nni_magic.search import shrinking_history
from nni_magic.search.shrinking_history import COLUMNS, plot_history, write_history

HISTORY = [
    {
        "epoch": 1, "mode": "min", "candidates": {"a": ["conv", "ffn"], "b": ["conv", 3, [0, 1]]},
        "promise": {"a": [2.0, 4.0], "b": [3.0, 1.0, math.nan]}, "dropped": [("a", "ffn")],
    },
    {
        "epoch": 2, "mode": "min", "candidates": {"a": ["conv"], "b": ["conv", 3, [0, 1]]},
        "promise": {"a": [2.0], "b": [3.0, 1.0, 2.0]}, "dropped": [("b", "conv"), ("b", [0, 1])],
    },
]  # fmt: skip


def test_table_has_every_candidate_of_every_epoch(tmp_path):
    write_history(HISTORY, tmp_path / "history.csv")
    header, *rows = csv.reader((tmp_path / "history.csv").open())
    assert tuple(header) == COLUMNS
    assert rows == [
        ["1", "a", "conv", "2.0", "0"], ["1", "a", "ffn", "4.0", "1"],
        ["1", "b", "conv", "3.0", "0"], ["1", "b", "3", "1.0", "0"],
        ["1", "b", "[0, 1]", "nan", "0"],
        ["2", "a", "conv", "2.0", "0"], ["2", "b", "conv", "3.0", "1"],
        ["2", "b", "3", "1.0", "0"], ["2", "b", "[0, 1]", "2.0", "1"],
    ]  # fmt: skip


def test_panels_hold_differences_deletions_and_what_is_left():
    names = ["conv", "ffn", "3", "[0, 1]"]
    values, crosses, circles = shrinking_history._panels(HISTORY, ["a", "b"], names)
    # Of epoch 1 the mean is 2.5, and less is better; in epoch 2 block a has nothing to choose.
    nan = np.nan
    expected = [[[0.5, nan], [-0.5, -1]], [[-1.5, nan], [nan, nan]], [[nan, nan], [1.5, 1]],
                [[nan, nan], [nan, 0]]]  # fmt: skip
    np.testing.assert_allclose(values, expected)
    assert [tuple(place) for place in np.argwhere(crosses)] == [(0, 1, 1), (1, 0, 0), (3, 1, 1)]
    assert [tuple(place) for place in np.argwhere(circles)] == [(0, 0, 0), (2, 1, 1)]


def test_larger_promise_is_better_where_scores_are_maximized():
    history = [{**record, "mode": "max"} for record in HISTORY]
    values, _, _ = shrinking_history._panels(history, ["a", "b"], ["conv", "ffn", "3", "[0, 1]"])
    assert values[0, 0, 0] == -0.5


def test_picture_is_drawn(tmp_path):
    plot_history(HISTORY, tmp_path / "history.png")
    assert (tmp_path / "history.png").read_bytes().startswith(b"\x89PNG")


def test_empty_history_is_refused(tmp_path):
    with pytest.raises(ValueError, match="the history is empty: nothing has been shrunk yet"):
        plot_history([], tmp_path / "history.png")


def test_missing_matplotlib_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install nni-magic\[plots\]"):
        plot_history(HISTORY, tmp_path / "history.png")
