import itertools
import math
import struct
import sys

import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure
from matplotlib.text import Text

from nni_magic.analysis.plots import (
    cosine_by_difference,
    cosine_heatmap,
    score_against_truth,
    tau_by_method,
    tau_by_setting,
)
from nni_magic.analysis.ranking import rank

NAMES = ["MHA6", "FFN", "FFN'"]
COSINES = np.array([[1, 0.42, 0.4], [0.42, 1, 0.71], [0.4, 0.71, 1]])
CURVES = {
    "layer 1": {"SPOS": {1: (0.5, 0.03), 3: (0.3, 0.02)}, "MAGIC-A": {1: (0.7, 0.03)}},
    "layer 5": {"SPOS": {1: (0.4, 0.03), 3: (0.2, 0.02)}},
}
TRUTH = np.linspace(4, 4.5, 12)
# Seven of 66 pairs are the wrong way round.
SCORES = {"SPOS": TRUTH[[1, 0, 3, 2, 5, 4, 8, 7, 6, 9, 11, 10]], "MAGIC-T": -TRUTH}
LABELS = {"truth_label": "loss trained alone (nats)", "score_label": "loss in the supernet (nats)"}
SEEDS = {"SPOS": [0.38, 0.42, 0.43], "MAGIC-AT": [0.5, 0.44, 0.59]}
SETTINGS = {"MAGIC-T": {1: [0.5, 0.6], 2: [0.4, 0.5], 6: [0.3, 0.5]}}

DRAWN = {
    "heatmap": lambda path: cosine_heatmap({"SPOS": COSINES}, NAMES, path),
    "difference": lambda path: cosine_by_difference(CURVES, path),
    "score": lambda path: score_against_truth(TRUTH, SCORES, path, **LABELS),
    "setting": lambda path: tau_by_setting(SETTINGS, path, setting="operators replaced, k"),
    "method": lambda path: tau_by_method(SEEDS, path, trivial={"params": 0.31}, ceiling=0.9),
}
TEXTS = {
    "heatmap": ["SPOS (mean 0.51)", *NAMES, "0.42", "0.71", "cosine of gradients"],
    "difference": ["layer 1", "layer 5", "SPOS", "MAGIC-A", "standard error", "differ, m"],
    "score": ["SPOS", "MAGIC-T", "τ = 0.79 (", "τ = -1.00 (-1.00 to -1.00)", "12 children",
              *LABELS.values()],
    "setting": ["MAGIC-T", "operators replaced, k", "Kendall's τ", "95 % interval"],
    "method": ["SPOS", "MAGIC-AT", "0.41", "0.51", "params 0.31", "noise ceiling 0.90",
               "Kendall's τ", "95 % interval"],
}  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Every picture, drawn once: its figure, and the name of its files without an ending."""
    folder, figures, save = tmp_path_factory.mktemp("plots"), [], Figure.savefig

    def savefig(figure, *args, **kwargs):
        figures.append(figure)
        save(figure, *args, **kwargs)

    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", savefig)
        for name, draw in DRAWN.items():
            draw(folder / name)
            found[name] = figures[-1], folder / name
    return found


def texts(figure):
    """All texts of a figure that are seen, with where they are."""
    figure.draw_without_rendering()
    found, beyond = {}, []
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        low, high = sorted(axis.get_view_interval())
        ticks = axis.get_major_ticks()
        beyond += [tick.label1 for tick in ticks if not low <= tick.get_loc() <= high]
    for text in figure.findobj(Text):
        box = Text.get_window_extent(text)  # that of an annotation has its arrow, too
        if text not in beyond and text.get_visible() and text.get_text().strip() and box.width:
            found[text] = box
    return found


@pytest.mark.parametrize("name", DRAWN)
def test_picture_is_written_as_png_and_svg(name, files):
    _, path = files[name]
    png, svg = path.with_suffix(".png").read_bytes(), path.with_suffix(".svg").read_text()
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", png[16:24])
    assert 700 < width < 1500 and 400 < height < 1200  # legible at the width of a README
    assert svg.rstrip().endswith("</svg>")
    for text in TEXTS[name]:
        assert text in svg


@pytest.mark.parametrize("name", DRAWN)
def test_texts_do_not_overlap(name, files):
    figure, _ = files[name]
    found = texts(figure)
    assert len(found) > 8
    for (text, box), (other, place) in itertools.combinations(found.items(), 2):
        assert not box.padded(-1).overlaps(place), (text, other)


def test_heatmap_has_every_cosine_in_its_place(files):
    axes = files["heatmap"][0].axes[0]
    cells = {text.get_position(): text.get_text() for text in axes.texts}
    assert cells == {(c, r): f"{COSINES[r, c]:.2f}" for r in range(3) for c in range(3)}
    for ticks in (axes.get_xticklabels(), axes.get_yticklabels()):
        assert [tick.get_text() for tick in ticks] == NAMES
    assert axes.images[0].get_clim() == (0, 1)


def test_candidates_of_a_heatmap_may_be_numbers(tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *a, **k: figures.append(figure))
    cosine_heatmap({"SPOS": COSINES}, [0, 1, 10], tmp_path / "a")
    assert [tick.get_text() for tick in figures[0].axes[0].get_xticklabels()] == ["0", "1", "10"]


def test_panels_of_heatmaps_have_one_scale(tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *a, **k: figures.append(figure))
    negative = np.array([[1, -0.23], [-0.23, 1]])
    cosine_heatmap({"a": np.eye(2), "b": negative}, ["convolution", "attention"], tmp_path / "a")
    panels = [axes for axes in figures[0].axes if axes.get_title()]
    assert [axes.get_title() for axes in panels] == ["a (mean 0.00)", "b (mean -0.23)"]
    assert [axes.images[0].get_clim() for axes in panels] == [(-0.3, 1)] * 2


def test_error_bars_are_the_standard_errors(files):
    panels = [axes for axes in files["difference"][0].axes]
    assert [axes.get_title() for axes in panels] == ["layer 1", "layer 5"]
    line, _, [bars] = panels[0].containers[0]
    assert line.get_xydata().tolist() == [[1, 0.5], [3, 0.3]]
    ends = [segment[:, 1].tolist() for segment in bars.get_segments()]
    assert np.allclose(ends, [[0.47, 0.53], [0.28, 0.32]])
    colours = [[c.lines[0].get_color() for c in axes.containers] for axes in panels]
    assert colours[0][0] == colours[1][0] != colours[0][1]  # a name keeps its colour


def test_scores_stand_over_the_truth_with_their_tau(files):
    for axes, (name, scores) in zip(files["score"][0].axes, SCORES.items(), strict=True):
        assert np.allclose(axes.collections[0].get_offsets(), np.column_stack([TRUTH, scores]))
        assert axes.get_title().split("\n")[0] == name
        assert f"τ = {rank(TRUTH, scores).kendall_tau:.2f}" in axes.get_title()


@pytest.mark.parametrize(("name", "seeds"), [
    ("setting", list(SETTINGS["MAGIC-T"].values())), ("method", list(SEEDS.values())),
])  # fmt: skip
def test_every_seed_is_a_dot_beside_the_mean_and_its_interval(name, seeds, files):
    axes = files[name][0].axes[0]
    dots = [np.array(c.get_offsets())[:, 1] for c in axes.collections if len(c.get_offsets()) > 1]
    assert [each.tolist() for each in dots] == seeds
    means = np.concatenate([c.lines[0].get_ydata() for c in axes.containers])
    assert np.allclose(means, [np.mean(each) for each in seeds])
    ends = np.concatenate([c.lines[2][0].get_segments() for c in axes.containers])[:, :, 1]
    quantile = {2: 12.706, 3: 4.303}[len(seeds[0])]  # Student's, from a table
    reach = [quantile * np.std(each, ddof=1) / math.sqrt(len(each)) for each in seeds]
    assert np.allclose(ends[:, 1] - means, reach, rtol=1e-3)


def test_axis_of_a_setting_names_its_values(files):
    ticks = files["setting"][0].axes[0].get_xticklabels()
    assert [tick.get_text() for tick in ticks] == ["1", "2", "6"]


def test_labels_of_near_lines_are_moved_apart(tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *a, **k: figures.append(figure))
    near = {"params": 0.40, "FLOPs": 0.401, "depth": 0.402, "random": 0.0}
    tau_by_method(SEEDS, tmp_path / "a", trivial=near)
    boxes = [box for text, box in texts(figures[0]).items() if text.get_text().split()[0] in near]
    assert len(boxes) == 4
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))


@pytest.mark.parametrize("ending", ["", ".png", ".svg"])
def test_ending_may_be_left_out(ending, tmp_path):
    tau_by_method(SEEDS, tmp_path / f"tau_0.5{ending}")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tau_0.5.png", "tau_0.5.svg"]


def test_same_data_give_the_same_files(files, tmp_path):
    DRAWN["setting"](tmp_path / "again")
    for ending in (".png", ".svg"):
        first = files["setting"][1].with_suffix(ending).read_bytes()
        assert (tmp_path / f"again{ending}").read_bytes() == first


def test_matplotlib_stays_as_it_was(tmp_path):
    before = dict(matplotlib.rcParams)
    DRAWN["setting"](tmp_path / "a")
    assert dict(matplotlib.rcParams) == before
    assert pyplot.get_fignums() == []


# Errors


@pytest.mark.parametrize(
    ("matrices", "message"),
    [
        ({}, "there is nothing to draw"),
        ({"SPOS": COSINES[:2]}, r"SPOS: the matrix has shape \(2, 3\); accepted is \(3, 3\)"),
        ({"SPOS": 2 * COSINES}, "SPOS: the matrix holds values that are no cosines"),
        ({"SPOS": COSINES * math.nan}, "SPOS: the matrix holds values that are no cosines"),
    ],
)
def test_matrices_that_are_not_of_cosines_are_refused(matrices, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        cosine_heatmap(matrices, NAMES, tmp_path / "a")


@pytest.mark.parametrize(
    ("curves", "message"),
    [
        ({}, "there is nothing to draw"),
        ({"layer 1": {"SPOS": {1: (math.nan, 0)}}}, r"layer 1, SPOS is \[\[nan, 0.0\]\]; acc"),
        ({"layer 1": {"SPOS": {}}}, "layer 1, SPOS: there is nothing to draw"),
    ],
)
def test_curves_without_values_are_refused(curves, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        cosine_by_difference(curves, tmp_path / "a")


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ({}, "there is nothing to draw"),
        ({"SPOS": np.ones(12)}, "SPOS: scores is the same for all children, so tau is undefined"),
        ({"SPOS": TRUTH[:5]}, r"SPOS: scores has shape \(5,\); accepted is \(12,\)"),
    ],
)
def test_scores_without_a_tau_are_refused(scores, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        score_against_truth(TRUTH, scores, tmp_path / "a", **LABELS)


@pytest.mark.parametrize(
    ("taus", "message"),
    [
        ({}, "there is nothing to draw"),
        ({"SPOS": {}}, "SPOS: there is nothing to draw"),
        ({"SPOS": {2: [0.4]}}, r"SPOS, k 2: taus has shape \(1,\); accepted is \(seeds,\)"),
    ],
)
def test_settings_without_an_interval_are_refused(taus, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        tau_by_setting(taus, tmp_path / "a", setting="k")


@pytest.mark.parametrize(
    ("taus", "settings", "message"),
    [
        ({}, {}, "there is nothing to draw"),
        ({"SPOS": [0.4, math.inf]}, {}, r"SPOS: taus\[1\] is inf; accepted are finite numbers"),
        (SEEDS, {"trivial": {"FLOPs": math.nan}}, "FLOPs is nan; accepted are finite numbers"),
        (SEEDS, {"ceiling": math.inf}, "noise ceiling is inf; accepted are finite numbers"),
    ],
)
def test_methods_without_an_interval_are_refused(taus, settings, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        tau_by_method(taus, tmp_path / "a", **settings)


def test_missing_matplotlib_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ModuleNotFoundError, match=r"matplotlib: pip install nni-magic\[plots\]"):
        tau_by_method(SEEDS, tmp_path / "a")
