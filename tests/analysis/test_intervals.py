import math

import pytest
import scipy.stats

from nni_magic.analysis.intervals import over_seeds


def test_mean_and_interval_over_seeds():
    taus = [0.38, 0.53, 0.48, 0.46, 0.40]
    found = over_seeds(taus, confidence=0.9)
    assert (found.mean, found.n) == (pytest.approx(0.45), 5)
    assert found.std == pytest.approx(math.sqrt(sum((t - 0.45) ** 2 for t in taus) / 4))
    reach = 2.131847 * found.std / math.sqrt(5)  # t of 4 degrees of freedom, from a table
    assert found.interval == pytest.approx((0.45 - reach, 0.45 + reach))
    test = scipy.stats.ttest_1samp(taus, found.interval[0])
    assert test.pvalue == pytest.approx(0.1)


def test_equal_seeds_have_an_interval_without_width():
    assert over_seeds([0.5, 0.5]).interval == (0.5, 0.5)


@pytest.mark.parametrize(
    ("taus", "message"),
    [
        ([0.4], r"taus has shape \(1,\); accepted is \(seeds,\)"),
        ([[0.4, 0.5]], r"taus has shape \(1, 2\); accepted is \(seeds,\)"),
        ([0.4, math.nan], r"taus\[1\] is nan; accepted are finite numbers"),
    ],
)
def test_seeds_without_an_interval_are_refused(taus, message):
    with pytest.raises(ValueError, match=message):
        over_seeds(taus)


def test_confidence_out_of_range_is_refused():
    with pytest.raises(ValueError, match="confidence is 1; accepted are finite numbers above 0"):
        over_seeds([0, 1], confidence=1)
