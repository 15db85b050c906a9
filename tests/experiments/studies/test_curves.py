"""Pictures of means over seeds."""

import numpy as np

from experiments.studies.curves import draw_curves
from nni_magic.analysis import figures
from nni_magic.analysis.seeds import over_seeds

CURVES = {
    "spos": [over_seeds([1.0, 2.0, 6.0]), over_seeds([2.0, 2.0, 2.0])],
    "magic_t": [over_seeds([0.0, 1.0])],
}


def test_every_supernet_has_a_line_with_its_intervals(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(figures, "save", lambda figure, stem: drawn.append((figure, stem)))
    draw_curves(CURVES, tmp_path / "a", first=1, below="epoch", beside="cosine")
    [(figure, stem)] = drawn
    assert stem == tmp_path / "a"
    spos, magic_t = figure.axes[0].containers
    line, _, [bars] = spos
    assert line.get_xdata().tolist() == [1, 2]
    assert line.get_ydata().tolist() == [3.0, 2.0]
    low, high = CURVES["spos"][0].interval
    assert np.allclose(bars.get_segments()[0], [(1, low), (1, high)])
    assert magic_t[0].get_xdata().tolist() == [1]
    assert (figure.get_supxlabel(), figure.get_supylabel()) == ("epoch", "cosine")
    assert [container.get_label() for container in (spos, magic_t)] == ["spos", "magic_t"]


def test_both_kinds_of_files_are_written(tmp_path):
    draw_curves(CURVES, tmp_path / "a", first=0, below="distance", beside="loss")
    assert {path.name for path in tmp_path.iterdir()} == {"a.png", "a.svg"}
