"""Pairs taken in turns, their summaries and verdicts."""

import numpy as np
import pytest

from experiments.benchmarks.pairs import alternate, ratios, summarise, text, verdict


@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_summary_agrees_with_numpy(n):
    values = np.random.default_rng(n).exponential(size=n)
    assert summarise(values.tolist()) == {
        "n": n,
        "min": np.min(values),
        "median": np.median(values),
        "max": np.max(values),
    }


def test_summary_of_nothing_is_an_error():
    with pytest.raises(ValueError, match="values is empty"):
        summarise([])


def test_ratios_are_of_pairs_and_not_of_means():
    assert ratios([1.0, 9.0], [2.0, 3.0]) == [0.5, 3.0]
    with pytest.raises(ValueError):
        ratios([1.0], [1.0, 2.0])


def test_alternate_swaps_the_order_and_not_the_results():
    calls = []

    def call(name):
        calls.append(name)
        return name

    for turn in range(3):
        assert alternate(lambda: call("a"), lambda: call("b"), turn) == ("a", "b")
    assert "".join(calls) == "abbaab"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.8, 0.9, 1.0], "met in every pair"),
        ([0.8, 0.9, 1.1], "met by the median, not by every pair"),
        ([0.8, 1.1, 1.2], "missed by the median, met in some pairs"),
        ([1.1, 1.2, 1.3], "missed in every pair"),
    ],
)
def test_verdict_tells_the_median_from_the_spread(values, expected):
    assert verdict(summarise(values), at_most=1.0) == expected


def test_text_has_significant_digits_without_exponents():
    assert text(summarise([0.012345, 123456.0, 1.0])) == "1 (0.0123 to 123,000)"
