"""Colours and texts of the pictures of architectures."""

import importlib

import numpy as np
import pytest
from matplotlib.figure import Figure

from nni_magic.export.drawing import COLOURS, SMALLEST, style_of, text_width, write


def contrast(one, other):
    """Contrast of two colours [WCAG 2.2, 1.4.3], from 1 to 21."""

    def luminance(colour):
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
        return float(np.dot([0.2126, 0.7152, 0.0722], linear))

    dark, light = sorted([luminance(one), luminance(other)])
    return (light + 0.05) / (dark + 0.05)  # fmt: skip


@pytest.mark.parametrize(("fill", "ink"), COLOURS)
def test_text_is_legible_on_every_colour(fill, ink):
    to_rgb = importlib.import_module("matplotlib.colors").to_rgb
    assert contrast(to_rgb(fill), to_rgb(ink)) >= 4.5


def test_styles_of_36_candidates_differ():
    styles = [style_of(number) for number in range(37)]
    assert len(set(styles[:36])) == 36 and styles[36] == styles[0]


def written(text, width):
    axes = Figure().add_axes((0, 0, 1, 1))
    write(axes, 0, 0, text, size=8, width=width)
    [found] = axes.texts
    return found


def test_text_that_fits_keeps_its_size():
    assert written("conv", 5).get_size() == 8


def test_text_too_wide_is_smaller():
    found = written("conv", 0.8 * text_width("conv", 8))
    assert found.get_text() == "conv" and found.get_size() == pytest.approx(6.4)


def test_text_far_too_wide_loses_its_middle():
    found = written("mobile_inverted_bottleneck", 0.5)
    start, end = found.get_text().split("…")
    assert "mobile".startswith(start) and "bottleneck".endswith(end)
    assert found.get_size() == SMALLEST and text_width(found.get_text(), SMALLEST) < 0.51
