import math

import numpy as np
import pytest
import scipy.stats

from nni_magic.analysis.resampling import (
    check_finite,
    checked,
    draws,
    percentiles,
    resampled_taus,
    tails,
)

FIVE = [1.0, 2.0, 3.0, 4.0, 5.0]


@pytest.mark.parametrize("ties", [False, True])
def test_resampled_taus_are_those_of_the_children_drawn(ties):
    rng = np.random.default_rng(3)
    truth = rng.normal(size=12)
    scores = truth + rng.normal(size=12)
    if ties:
        truth, scores = truth.round(0), scores.round(0)
    counts = np.random.default_rng(0).multinomial(12, np.full(12, 1 / 12), size=50)
    found = resampled_taus(truth, scores, counts)
    for tau, count in zip(found, counts, strict=True):
        drawn = np.repeat(np.arange(12), count)
        assert tau == pytest.approx(scipy.stats.kendalltau(truth[drawn], scores[drawn]).statistic)


def test_resample_of_one_child_alone_has_no_tau():
    [tau] = resampled_taus(np.array([1, 2, 3]), np.array([2, 1, 3]), np.array([[0, 3, 0]]))
    assert math.isnan(tau)


def test_draws_are_of_n_children_and_leave_out_each_as_often_as_replacement_does():
    counts = draws(10, 4000, np.random.default_rng(0))
    assert counts.shape == (4000, 10)
    assert (counts.sum(axis=1) == 10).all()
    assert (counts == 0).mean() == pytest.approx(0.9**10, abs=0.01)


def test_percentiles_are_those_of_numbers_only():
    values = np.array([math.nan, *range(101), math.nan])
    assert percentiles(values, 0.9) == pytest.approx((5, 95))


@pytest.mark.parametrize("confidence", [0.5, 0.95])
def test_tails_hold_the_confidence_between_them_and_the_rest_in_halves(confidence):
    low, high = tails(confidence)
    assert high - low == pytest.approx(confidence)
    assert low == pytest.approx(1 - high)


def test_numbers_that_are_accepted_come_back_as_floats():
    array = checked("scores", [[1, 2, 3], [3, 2, 2]], 2, None)
    assert array.dtype == float and array.tolist() == [[1, 2, 3], [3, 2, 2]]


# Errors


@pytest.mark.parametrize(("values", "shape", "message"), [
    (FIVE[:4], (5,), r"scores has shape \(4,\); accepted is \(5,\), None being any length"),
    ([FIVE], (None,), r"scores has shape \(1, 5\); accepted is \(None,\)"),
    (FIVE[:2], (None,), "scores has 2 children; accepted are at least 3"),
    ([FIVE, [*FIVE[:4], math.inf]], (2, 5), r"scores\[1, 4\] is inf; accepted are finite numbers"),
    ([FIVE, [2.0] * 5], (2, 5), "scores is the same for all children, so tau is undefined"),
])  # fmt: skip
def test_numbers_that_rank_nothing_are_refused(values, shape, message):
    with pytest.raises(ValueError, match=message):
        checked("scores", values, *shape)


def test_children_may_be_along_another_axis():
    with pytest.raises(ValueError, match="repeated has 2 children; accepted are at least 3"):
        checked("repeated", [[1, 2, 3], [3, 1, 2]], None, None, children=0)


def test_first_number_that_is_not_finite_is_named():
    check_finite("taus", np.array(FIVE))
    with pytest.raises(ValueError, match=r"taus\[2\] is -inf; accepted are finite numbers"):
        check_finite("taus", np.array([0, 1, -math.inf, math.nan]))


def test_few_resamples_are_refused():
    message = "n_resamples is 99; accepted are whole numbers of at least 100"
    with pytest.raises(ValueError, match=message):
        draws(5, 99, np.random.default_rng(0))


@pytest.mark.parametrize("confidence", [0, 1, 95])
def test_confidence_out_of_range_is_refused(confidence):
    message = f"confidence is {confidence}; accepted are finite numbers above 0 and below 1"
    with pytest.raises(ValueError, match=message):
        tails(confidence)
