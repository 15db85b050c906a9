"""What pictures share: panels, looks, dots, means, lines and legends, and their files."""

import itertools

import numpy as np
import pytest
from matplotlib.figure import Figure

from nni_magic.analysis import figures
from nni_magic.analysis.intervals import MeanInterval


@pytest.fixture
def axes():
    return Figure().subplots()


@pytest.mark.parametrize(("n", "rows", "columns"), [(1, 1, 1), (2, 1, 2), (4, 2, 2), (5, 2, 3)])
def test_panels_fill_rows_of_three_and_four_are_a_square(n, rows, columns):
    figure, panels = figures.panels_of(n, 2.0, 1.5)
    assert len(panels) == len(figure.axes) == n
    grid = panels[0].get_gridspec()
    assert (grid.nrows, grid.ncols) == (rows, columns)
    width, height = (2.0, 1.5) if n > 1 else (4.8, 3.2)  # a panel alone is larger
    assert figure.get_size_inches() == pytest.approx((columns * width + 0.5, rows * height + 0.5))


def test_looks_of_42_lines_differ():
    looks = {(figures.style(i)["color"], figures.style(i)["marker"]) for i in range(42)}
    assert len(looks) == 42
    assert figures.style(42) == figures.style(0)


def test_every_seed_is_a_dot_at_its_place(axes):
    figures.draw_seeds(axes, [1, 3], [[0.4, 0.5], [0.6]], figures.COLOURS[0])
    dots = [dots.get_offsets().tolist() for dots in axes.collections]
    assert dots == [[[1, 0.4], [1, 0.5]], [[3, 0.6]]]


def test_means_stand_in_the_middle_of_their_intervals(axes):
    means = [MeanInterval(0.5, (0.3, 0.7), 0.1, 3), MeanInterval(0.2, (0.1, 0.3), 0.1, 3)]
    figures.draw_means(axes, [1, 2], means)
    [bars] = axes.containers
    assert bars.lines[0].get_ydata().tolist() == [0.5, 0.2]
    segments = np.array(bars.lines[2][0].get_segments())
    assert segments[:, :, 1] == pytest.approx(np.array([[0.3, 0.7], [0.1, 0.3]]))


def test_labels_of_near_lines_are_moved_apart_and_the_lines_are_not(axes):
    near = {"params": 0.40, "FLOPs": 0.401, "depth": 0.402, "random": 0.0}
    axes.set_ylim(0, 0.6)
    figures.draw_lines(axes, near)
    assert sorted(line.get_ydata()[0] for line in axes.lines) == sorted(near.values())
    axes.figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in axes.texts]
    assert len(boxes) == 4
    places = sorted(text.get_position()[1] for text in axes.texts)
    assert min(b - a for a, b in itertools.pairwise(places)) > 0.03


def test_axes_are_labelled_once_for_all_panels_and_tidy():
    figure, panels = figures.panels_of(2, 2.0, 1.5)
    figures.label_axes(figure, "k", "tau")
    figures.tidy(panels[0])
    assert (figure.get_supxlabel(), figure.get_supylabel()) == ("k", "tau")
    shown = {side for side, spine in panels[0].spines.items() if spine.get_visible()}
    assert shown == {"left", "bottom"}


def test_legend_names_every_line_once():
    figure, panels = figures.panels_of(2, 2.0, 1.5)
    for panel, names in zip(panels, (["SPOS", "MAGIC-T"], ["MAGIC-T", "MAGIC-A"]), strict=True):
        for name in names:
            panel.plot([0, 1], [0, 1], label=name)
    figures.write_legend(figure, panels)
    [legend] = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["SPOS", "MAGIC-T", "MAGIC-A"]


@pytest.mark.parametrize("ending", ["", ".png", ".svg"])
def test_figure_is_saved_twice_without_a_date(ending, tmp_path):
    figure, _ = figures.panels_of(1, 2.0, 1.5)
    figures.save(figure, tmp_path / f"tau_0.5{ending}")
    assert {path.name for path in tmp_path.iterdir()} == {"tau_0.5.png", "tau_0.5.svg"}
    assert "<dc:date>" not in (tmp_path / "tau_0.5.svg").read_text()
