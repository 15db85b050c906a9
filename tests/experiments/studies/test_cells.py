"""Figures as the cells of a table."""

import pytest

from experiments.studies.cells import cell, interval
from nni_magic.analysis.seeds import MeanInterval


@pytest.mark.parametrize(("ends", "sign", "expected"), [
    ((0.12345, 1), "", "0.123 to 1.000"),
    ((-2, -0.0006), "", "-2.000 to -0.001"),
    ((0.5, 1.25), "+", "+0.500 to +1.250"),
])  # fmt: skip
def test_interval_has_both_ends(ends, sign, expected):
    assert interval(ends, sign) == expected


def test_cell_has_the_mean_before_its_interval():
    one = MeanInterval(0.25, (-0.5, 1.0), std=0.3, n=3)
    assert cell(one) == "0.250 (-0.500 to 1.000)"
    assert cell(one, "+") == "+0.250 (-0.500 to +1.000)"


def test_cell_of_nothing_is_empty():
    assert cell(None) == cell(None, "+") == ""
