import itertools
import math

import numpy as np
import pytest
import scipy.stats

from nni_magic.analysis.seeds import compare, joint_interval, noise_ceiling

TRUTH = np.array([1.0, 2.0, 3.0, 4.0])
REVERSED, SWAPPED, SAME = [4, 3, 2, 1], [2, 1, 3, 4], [1, 2, 3, 4]  # tau of -1, 2/3 and 1


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


def test_joint_interval_by_hand():
    """Its two variances, by brute force: of the seeds, and of the children that seeds share."""
    rng = np.random.default_rng(0)
    truth = rng.normal(size=15)
    scores = truth + rng.normal(size=15) + rng.normal(size=(3, 15))
    taus = [tau_b(truth, row) for row in scores]
    kept = [np.arange(15) != i for i in range(15)]
    without = np.array([[tau_b(truth[k], row[k]) for k in kept] for row in scores])
    pairs = [14 / 15 * sum((without[a] - without[a].mean()) * (without[b] - without[b].mean()))
             for a, b in itertools.combinations(range(3), 2)]  # fmt: skip
    assert np.mean(pairs) > 0
    t_seeds, t_children = 2.919986, 1.761310  # of 2 and of 14 degrees of freedom, from a table
    variance = t_seeds**2 * np.var(taus, ddof=1) / 3 + t_children**2 * np.mean(pairs)
    expected = np.mean(taus) - math.sqrt(variance), np.mean(taus) + math.sqrt(variance)
    assert joint_interval(truth, scores, confidence=0.9) == pytest.approx(expected)


def test_joint_interval_of_a_comparison_is_that_of_the_difference():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=20)
    scores = truth + rng.normal(size=(4, 20))
    low, high = joint_interval(truth, scores)
    assert compare(truth, -scores, scores).joint_interval == pytest.approx((2 * low, 2 * high))
    constant = np.tile(truth, (4, 1))  # a tau of 1, whatever the children and the seed
    found = compare(truth, constant, scores).joint_interval
    assert found == pytest.approx((low - 1, high - 1))


def test_joint_interval_takes_a_tau_that_a_child_alone_decides_for_uncertain():
    low, high = joint_interval([1, 2, 3, 4], [[0, 0, 0, 1]] * 2)
    assert low < 0 < high


@pytest.mark.parametrize("n_seeds", [3, 5])
@pytest.mark.parametrize(("quality", "by_child", "noise"), [
    (0.35, 0, 1),  # seeds differ in quality
    (0, 0, 1),  # in what they make of each child
    (0, 1, 0.2),  # hardly at all
])  # fmt: skip
def test_joint_interval_holds_other_children_and_seeds_as_often_as_it_says(
    quality, by_child, noise, n_seeds
):
    rng = np.random.default_rng(0)

    def draw(n):
        """Ground truth and scores of one study."""
        truth, slopes = rng.normal(size=n), rng.normal(1, quality, size=(n_seeds, 1))
        shared = by_child * rng.normal(size=n)
        return truth, slopes * truth + shared + noise * rng.normal(size=(n_seeds, n))

    lows, highs = np.transpose([joint_interval(*draw(60)) for _ in range(200)])
    means = (lows + highs) / 2  # of 200, their own mean is near to what each estimates
    assert np.mean(np.abs(means - means.mean()) <= (highs - lows) / 2) >= 0.93
    assert np.mean(highs - lows) < 2 * 2 * 1.96 * means.std()


def test_difference_over_seeds_does_not_hold_for_other_children():
    rng = np.random.default_rng(0)
    held = {"seeds": 0, "joint": 0}
    for _ in range(40):  # two methods that are equally good over all children
        truth = rng.normal(size=30)
        a, b = truth + rng.normal(size=(2, 1, 30)) + 0.3 * rng.normal(size=(2, 4, 30))
        found = compare(truth, a, b)
        held["seeds"] += found.difference.interval[0] <= 0 <= found.difference.interval[1]
        held["joint"] += found.joint_interval[0] <= 0 <= found.joint_interval[1]
    assert held["joint"] >= 34 and held["seeds"] <= 28  # 38 of 40 would be right


# The ceiling of noise


def test_ceiling_by_hand():
    # tau between seeds 0 and 1 is 1/3, between 0 and 2 it is 1, and between 1 and 2 1/3.
    found = noise_ceiling([[1.0, 2.0, 1.5], [2.0, 1.0, 2.5], [4.0, 4.0, 3.5]])
    assert (found.n, found.seeds) == (3, 3)
    assert found.spread == pytest.approx(0.5)  # of 0.5, 0.764 and 0.289
    assert found.tau_between_seeds == pytest.approx(5 / 9)
    rho = math.sin(math.pi / 2 * 5 / 9)
    assert found.tau_ceiling == pytest.approx(2 / math.pi * math.asin(math.sqrt(rho)))


def test_tau_between_seeds_is_the_mean_over_pairs():
    rng = np.random.default_rng(0)
    repeated = rng.normal(size=(30, 1)) + 0.5 * rng.normal(size=(30, 3))
    between = [scipy.stats.kendalltau(*pair).statistic for pair in
               itertools.combinations(repeated.T, 2)]  # fmt: skip
    assert noise_ceiling(repeated).tau_between_seeds == pytest.approx(np.mean(between))


def equal(rng, values):
    return 0.4 * rng.normal(size=values.shape)


def growing(rng, values):
    return 0.15 * np.exp(values) * rng.normal(size=values.shape)


def with_failures(rng, values):
    failed = (rng.random(values.shape) < 0.05) * rng.exponential(10, size=values.shape)
    return 0.2 * rng.normal(size=values.shape) + failed


@pytest.mark.parametrize(
    ("noise", "runs", "within"),
    [(equal, 1, 0.02), (equal, 3, 0.02), (growing, 1, 0.03), (growing, 3, 0.03),
     (with_failures, 1, 0.06)],
)  # fmt: skip
def test_ceiling_is_what_perfect_scores_reach(noise, runs, within):
    rng = np.random.default_rng(0)
    true = rng.normal(size=600)
    threefold = np.repeat(true[:, None], 3, axis=1)
    repeated, again = (threefold + noise(rng, threefold) for _ in range(2))
    reached = scipy.stats.kendalltau(true, again[:, :runs].mean(axis=1)).statistic
    found = noise_ceiling(repeated, runs=runs, n_resamples=100)
    assert found.tau_ceiling == pytest.approx(reached, abs=within)
    assert found.tau_ceiling < 0.95


def test_ceiling_does_not_change_with_the_scale_of_losses():
    rng = np.random.default_rng(0)
    repeated = rng.normal(size=(20, 1)) + 0.5 * rng.normal(size=(20, 2))
    one, other = noise_ceiling(repeated), noise_ceiling(np.exp(3 * repeated))
    assert one.tau_ceiling == other.tau_ceiling
    assert one.tau_ceiling_interval == other.tau_ceiling_interval


def test_ceiling_interval_holds_the_ceiling_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    ceiling = 2 / math.pi * math.asin(math.sqrt(1 / 1.25))  # Greiner's relation
    held = []
    for _ in range(100):
        repeated = rng.normal(size=(10, 1)) + 0.5 * rng.normal(size=(10, 3))
        low, high = noise_ceiling(repeated, n_resamples=200, confidence=0.8).tau_ceiling_interval
        held.append(low <= ceiling <= high)
    assert np.mean(held) == pytest.approx(0.8, abs=0.13)  # more than three standard errors


def test_trainings_without_noise_have_no_ceiling():
    found = noise_ceiling([[1, 1], [2, 2], [4, 4]])
    assert found.tau_ceiling == found.tau_between_seeds == pytest.approx(1)
    assert found.tau_ceiling_interval == pytest.approx((1, 1))


def test_trainings_that_disagree_have_a_ceiling_of_zero():
    found = noise_ceiling([[1, 3], [2, 2], [3, 1]])
    assert found.tau_between_seeds == pytest.approx(-1)
    assert found.tau_ceiling == 0


# Errors


TWO = [SAME, SWAPPED]


@pytest.mark.parametrize(
    ("truth", "a", "b", "message"),
    [
        (TRUTH, TWO, [SAME] * 3, r"scores_b has shape \(3, 4\); accepted is \(2, 4\)"),
        (TRUTH, SAME, SAME, r"scores_a has shape \(4,\); accepted is \(None, 4\), None being any"),
        (TRUTH[:3], TWO, TWO, r"scores_a has shape \(2, 4\); accepted is \(None, 3\)"),
        (TRUTH, [SAME], [SAME], r"taus has shape \(1,\); accepted is \(seeds,\)"),
        (TRUTH, TWO, [SAME, [1, 2, 3, math.inf]], r"scores_b\[1, 3\] is inf; accepted are fin"),
        (TRUTH, [SAME, [1] * 4], TWO, "scores_a is the same for all children, so tau is"),
        ([1] * 4, TWO, TWO, "truth is the same for all children"),
    ],
)
def test_scores_that_cannot_be_compared_are_refused(truth, a, b, message):
    with pytest.raises(ValueError, match=message):
        compare(truth, a, b)


@pytest.mark.parametrize(
    ("truth", "scores", "message"),
    [
        (TRUTH, SAME, r"scores has shape \(4,\); accepted is \(None, 4\), None being any"),
        (TRUTH, [SAME], r"taus has shape \(1,\); accepted is \(seeds,\)"),
        (TRUTH, [SAME, [1, 2, 3, math.nan]], r"scores\[1, 3\] is nan; accepted are fin"),
        (TRUTH, [SAME, [1] * 4], "scores is the same for all children, so tau is"),
        ([1, 2], [[1, 2]] * 2, "truth has 2 children; accepted are at least 3"),
    ],
)
def test_scores_without_a_joint_interval_are_refused(truth, scores, message):
    with pytest.raises(ValueError, match=message):
        joint_interval(truth, scores)


@pytest.mark.parametrize("call", [
    lambda **s: compare(TRUTH, TWO, TWO, **s), lambda **s: joint_interval(TRUTH, TWO, **s),
    lambda **s: noise_ceiling([[1, 2], [2, 1], [3, 3]], **s),
])  # fmt: skip
def test_confidence_out_of_range_is_refused(call):
    with pytest.raises(ValueError, match="confidence is 1; accepted are finite numbers above 0"):
        call(confidence=1)


@pytest.mark.parametrize(
    ("repeated", "message"),
    [
        ([1, 2, 3], r"repeated has shape \(3,\); accepted is \(None, None\)"),
        ([[1], [2], [3]], "repeated has 1 seed; accepted are at least 2"),
        ([[1, 2], [2, 1]], "repeated has 2 children; accepted are at least 3"),
        ([[1, 2], [2, 1], [math.nan, 3]], r"repeated\[2, 0\] is nan; accepted are finite numbers"),
        ([[1, 2], [1, 1], [1, 3]], "repeated is the same for all children"),
    ],
)
def test_trainings_without_a_ceiling_are_refused(repeated, message):
    with pytest.raises(ValueError, match=message):
        noise_ceiling(repeated)


def test_ground_truth_of_no_training_is_refused():
    with pytest.raises(ValueError, match="runs is 0; accepted are whole numbers of at least 1"):
        noise_ceiling([[1, 2], [2, 1], [3, 3]], runs=0)
