import itertools
import math

import numpy as np
import pytest
import scipy.stats

from nni_magic.analysis.seeds import compare, noise_ceiling, over_seeds

TRUTH = np.array([1.0, 2.0, 3.0, 4.0])
REVERSED, SWAPPED, SAME = [4, 3, 2, 1], [2, 1, 3, 4], [1, 2, 3, 4]  # tau of -1, 2/3 and 1


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


def test_comparison_by_hand():
    found = compare(TRUTH, [REVERSED, SWAPPED, SAME], [SWAPPED, SAME, SAME])
    assert found.n == 4
    assert found.taus_a == pytest.approx((-1, 2 / 3, 1))
    assert found.taus_b == pytest.approx((2 / 3, 1, 1))
    differences = np.array([5 / 3, 1 / 3, 0])
    assert found.difference.mean == pytest.approx(2 / 3)
    assert found.difference.std == pytest.approx(differences.std(ddof=1))
    t = differences.mean() / (differences.std(ddof=1) / math.sqrt(3))
    assert found.t_test_p == pytest.approx(2 * scipy.stats.t.sf(t, 2))
    # Of the four ways to sign the two differences that are not 0, two are as extreme.
    assert found.wilcoxon_p == pytest.approx(2 / 4)


def test_the_other_way_round_is_the_negative():
    rng = np.random.default_rng(0)
    truth, a, b = rng.normal(size=20), rng.normal(size=(5, 20)), rng.normal(size=(5, 20))
    one, other = compare(truth, a, b), compare(truth, b, a)
    assert one.difference.mean == -other.difference.mean
    assert one.joint_interval == pytest.approx([-end for end in other.joint_interval[::-1]])
    assert (one.t_test_p, one.wilcoxon_p) == pytest.approx((other.t_test_p, other.wilcoxon_p))


def test_a_method_does_not_differ_from_itself():
    rng = np.random.default_rng(0)
    truth, scores = rng.normal(size=20), rng.normal(size=(3, 20))
    found = compare(truth, scores, scores)
    assert found.difference.interval == found.joint_interval == (0, 0)
    assert found.t_test_p == found.wilcoxon_p == 1


def tau_b(truth, scores):
    t, s = (np.sign(np.subtract.outer(x, x)) for x in (truth, scores))
    return (t * s).sum() / math.sqrt((t**2).sum() * (s**2).sum())


def test_joint_interval_is_that_of_resampling_children_and_seeds():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=15)
    a, b = truth + 2 * rng.normal(size=(4, 15)), truth + rng.normal(size=(4, 15))
    means = []
    for _ in range(1500):
        drawn, seeds = rng.integers(15, size=15), rng.integers(4, size=4)
        taus = [[tau_b(truth[drawn], scores[seed][drawn]) for seed in seeds] for scores in (a, b)]
        means.append(np.mean(taus[1]) - np.mean(taus[0]))
    found = compare(truth, a, b, confidence=0.8)
    assert found.joint_interval == pytest.approx(np.quantile(means, [0.1, 0.9]), abs=0.04)


def test_joint_interval_holds_for_other_children_where_that_over_seeds_does_not():
    rng = np.random.default_rng(0)
    held = {"seeds": 0, "joint": 0}
    for _ in range(40):  # two methods that are equally good over all children
        truth = rng.normal(size=30)
        a, b = truth + rng.normal(size=(2, 1, 30)) + 0.3 * rng.normal(size=(2, 4, 30))
        found = compare(truth, a, b, n_resamples=200)
        held["seeds"] += found.difference.interval[0] <= 0 <= found.difference.interval[1]
        held["joint"] += found.joint_interval[0] <= 0 <= found.joint_interval[1]
    assert held["joint"] >= 34 and held["seeds"] <= 28  # 38 of 40 would be right


def test_noise_by_hand():
    # Residuals are (-1, 1) / 10, (1, -1) / 10 and 0; the second seed is worse by 0.5 throughout.
    truths = [[1.0, 1.7], [2.0, 2.3], [3.0, 3.5]]
    found = noise_ceiling(truths)
    assert (found.n, found.seeds) == (3, 2)
    assert found.within == pytest.approx(0.04 / 2)
    assert found.between == pytest.approx(0.91 - 0.02 / 2)
    assert found.reliability == pytest.approx(0.9 / 0.92)
    assert found.tau_between_seeds == pytest.approx(1)
    assert found.tau_ceiling == pytest.approx(2 / math.pi * math.asin(math.sqrt(0.9 / 0.92)))


def test_spread_is_that_of_the_children_that_are_ranked():
    truths = [[1.0, 1.2], [2.0, 1.8], [3.0, 3.0]]
    narrow, wide = (noise_ceiling(truths, spread=spread) for spread in (0.2, 5))
    assert narrow.reliability == pytest.approx(1 - 0.02 / 0.04)
    assert narrow.tau_ceiling == pytest.approx(0.5)
    assert narrow.within == wide.within and wide.tau_ceiling > 0.98
    assert noise_ceiling(truths, spread=0.1).tau_ceiling == 0  # less than the noise


def test_ceiling_is_what_perfect_scores_reach():
    rng = np.random.default_rng(0)
    true = rng.normal(size=3000)
    truths = true[:, None] + 0.5 * rng.normal(size=(3000, 3))
    found = noise_ceiling(truths)
    assert (found.between, found.within) == pytest.approx((1, 0.25), rel=0.1)
    reached = [scipy.stats.kendalltau(true, truth).statistic for truth in truths.T]
    assert found.tau_ceiling == pytest.approx(np.mean(reached), abs=0.01)
    between = [scipy.stats.kendalltau(*pair).statistic for pair in
               itertools.combinations(truths.T, 2)]  # fmt: skip
    assert found.tau_between_seeds == pytest.approx(np.mean(between))


def test_ceiling_interval_holds_the_ceiling_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    true = 2 / math.pi * math.asin(math.sqrt(1 / 1.25))
    held = []
    for _ in range(100):
        truths = rng.normal(size=(10, 1)) + 0.5 * rng.normal(size=(10, 3))
        low, high = noise_ceiling(
            truths, spread=math.sqrt(1.25), confidence=0.8
        ).tau_ceiling_interval
        held.append(low <= true <= high)
    assert np.mean(held) == pytest.approx(0.8, abs=0.13)  # more than three standard errors


def test_truth_without_noise_has_no_ceiling():
    found = noise_ceiling([[1, 1], [2, 2], [4, 4]])
    assert found.tau_ceiling == found.tau_between_seeds == pytest.approx(1)
    assert found.tau_ceiling_interval == pytest.approx((1, 1))


# Errors


@pytest.mark.parametrize(
    ("taus", "message"),
    [
        ([0.4], r"taus has shape \(1,\); an interval needs at least two seeds"),
        ([[0.4, 0.5]], r"taus has shape \(1, 2\); an interval needs"),
        ([0.4, math.nan], r"taus\[1\] is nan; it must be finite"),
    ],
)
def test_seeds_without_an_interval_are_refused(taus, message):
    with pytest.raises(ValueError, match=message):
        over_seeds(taus)


TWO = [SAME, SWAPPED]


@pytest.mark.parametrize(
    ("truth", "a", "b", "message"),
    [
        (TRUTH, TWO, [SAME] * 3, r"scores_b has shape \(3, 4\); \(2, 4\) is needed"),
        (TRUTH, SAME, SAME, r"scores_a has shape \(4,\); \(None, 4\) is needed, None being any"),
        (TRUTH[:3], TWO, TWO, r"scores_a has shape \(2, 4\); \(None, 3\) is needed"),
        (TRUTH, [SAME], [SAME], r"taus has shape \(1,\); an interval needs at least two seeds"),
        (TRUTH, TWO, [SAME, [1, 2, 3, math.inf]], r"scores_b\[1, 3\] is inf; it must be finite"),
        (TRUTH, [SAME, [1] * 4], TWO, "scores_a is the same for all children, so tau is"),
        ([1] * 4, TWO, TWO, "truth is the same for all children"),
    ],
)
def test_scores_that_cannot_be_compared_are_refused(truth, a, b, message):
    with pytest.raises(ValueError, match=message):
        compare(truth, a, b)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_resamples": 0}, "n_resamples is 0; an interval needs at least 100"),
        ({"confidence": 1}, "confidence is 1; it must be between 0 and 1"),
    ],
)
def test_bad_settings_of_a_comparison_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        compare(TRUTH, TWO, TWO, **settings)


@pytest.mark.parametrize(
    ("truths", "settings", "message"),
    [
        ([1, 2, 3], {}, r"truths has shape \(3,\); \(None, None\) is needed"),
        ([[1], [2], [3]], {}, "truths has 1 seed; noise shows in two seeds at least"),
        ([[1, 2], [2, 1]], {}, "truths has 2 children; a ranking needs at least 3"),
        ([[1, 2], [2, 1], [math.nan, 3]], {}, r"truths\[2, 0\] is nan; it must be finite"),
        ([[1, 2], [1, 1], [1, 3]], {}, "truths is the same for all children"),
        ([[1, 2], [2, 1], [3, 3]], {"spread": 0.0}, "spread is 0.0; it must be a standard dev"),
        ([[1, 2], [2, 1], [3, 3]], {"spread": math.nan}, "spread is nan; it must be"),
        ([[1, 2], [2, 1], [3, 3]], {"confidence": 0}, "confidence is 0; it must be between"),
    ],
)
def test_repeated_truths_without_a_ceiling_are_refused(truths, settings, message):
    with pytest.raises(ValueError, match=message):
        noise_ceiling(truths, **settings)
