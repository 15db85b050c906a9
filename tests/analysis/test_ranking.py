import itertools
import math

import numpy as np
import pytest
import scipy.stats

from nni_magic.analysis.ranking import random_ranking, rank


def tau_b(truth, scores):
    """Pair by pair, as in Kendall's paper."""
    agree = truth_differs = scores_differ = 0
    for (t, s), (u, v) in itertools.combinations(zip(truth, scores, strict=True), 2):
        agree += math.copysign(t != u, t - u) * math.copysign(s != v, s - v)
        truth_differs += t != u
        scores_differ += s != v
    return agree / math.sqrt(truth_differs * scores_differ)


def ranks(values):
    """Rank from 1, the mean of the places that equal values take."""
    places = sorted(values)
    return [np.mean([i + 1 for i, v in enumerate(places) if v == value]) for value in values]


def orders(values, mode):
    """All orders, best first, that breaking the ties gives."""
    sign = 1 if mode == "min" else -1
    groups = [
        list(group)
        for _, group in itertools.groupby(
            sorted(range(len(values)), key=lambda i: sign * values[i]), key=lambda i: values[i]
        )
    ]
    for parts in itertools.product(*map(itertools.permutations, groups)):
        yield [i for part in parts for i in part]


def children(n, *, ties, seed):
    """Ground truth and scores that have something to do with each other."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=n)
    scores = truth + rng.normal(size=n)
    return (truth.round(0), scores.round(0)) if ties else (truth, scores)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("n", [6, 17, 60])
def test_correlations_agree_with_brute_force(n, ties):
    truth, scores = children(n, ties=ties, seed=n)
    found = rank(truth, scores, top_k=())
    assert found.n == n
    assert found.kendall_tau == pytest.approx(tau_b(truth, scores))
    a, b = np.array(ranks(truth)), np.array(ranks(scores))
    assert found.spearman_rho == pytest.approx(np.corrcoef(a, b)[0, 1])
    for ties_found, values in ((found.ties_truth, truth), (found.ties_scores, scores)):
        assert ties_found == sum(x == y for x, y in itertools.combinations(values, 2))
    assert (found.ties_truth > 0) == ties


@pytest.mark.parametrize("mode", ["min", "max"])
def test_precision_and_regret_are_means_over_all_ways_to_break_ties(mode):
    truth, scores = [3.0, 1.0, 2.0, 2.0, 1.0, 5.0], [0.4, 0.1, 0.1, 0.3, 0.1, 0.4]
    found = rank(truth, scores, mode=mode, top_k=range(1, 7))
    pairs = list(itertools.product(orders(truth, mode), orders(scores, mode)))
    assert len(pairs) > 20
    for k, precision in found.precision_at.items():
        shares = [len(set(best[:k]) & set(first[:k])) / k for best, first in pairs]
        assert precision == pytest.approx(np.mean(shares))
    best = min(truth) if mode == "min" else max(truth)
    losses = [abs(truth[first[0]] - best) for _, first in pairs]
    assert found.regret == pytest.approx(np.mean(losses))


def test_direction_matters_for_the_best_only():
    truth, scores = children(30, ties=False, seed=0)
    small, large = rank(truth, scores), rank(-truth, -scores, mode="max")
    assert small == large
    assert rank(truth, scores, mode="max").kendall_tau == small.kendall_tau
    assert rank(truth, scores, mode="max").regret != small.regret


def test_perfect_scores():
    found = rank(range(20), range(20))
    assert found.kendall_tau == found.spearman_rho == pytest.approx(1)
    assert found.precision_at == {1: 1, 5: 1, 10: 1} and found.regret == 0
    assert found.tau_interval == pytest.approx((1, 1))


def test_interval_is_near_that_of_another_bootstrap():
    truth, scores = children(20, ties=False, seed=1)
    other = scipy.stats.bootstrap(
        (truth, scores), tau_b, paired=True, vectorized=False, n_resamples=300,
        method="percentile", rng=np.random.default_rng(1),
    ).confidence_interval  # fmt: skip
    assert rank(truth, scores).tau_interval == pytest.approx(other, abs=0.08)


def test_interval_holds_the_true_tau_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    true = 2 / math.pi * math.asin(0.6)  # Greiner's relation
    held = []
    for _ in range(120):
        truth, noise = rng.normal(size=(2, 30))
        low, high = rank(
            truth, 0.6 * truth + 0.8 * noise, n_resamples=300, confidence=0.8
        ).tau_interval
        held.append(low <= true <= high)
    assert 0.7 <= np.mean(held) <= 0.94  # more than three standard errors about 0.82


def test_resamples_without_tau_are_left_out():
    found = rank([1, 2, 3], [1, 3, 2], top_k=(1,))  # one of nine has a single child
    assert found.tau_interval == pytest.approx((-1, 1))


def test_interval_depends_on_the_seed_and_the_confidence_only():
    truth, scores = children(20, ties=False, seed=2)
    one, same, other = (rank(truth, scores, seed=seed).tau_interval for seed in (0, 0, 1))
    assert one == same != other
    low, high = rank(truth, scores, confidence=0.5).tau_interval
    assert one[0] < low < high < one[1]


@pytest.mark.parametrize("truth", [[1, 2, 3, 4, 5], [1, 1, 2, 3, 3]])
@pytest.mark.parametrize("mode", ["min", "max"])
def test_random_ranking_is_the_mean_over_all_rankings(truth, mode):
    every = [
        rank(truth, order, mode=mode, top_k=(1, 3), n_resamples=100)
        for order in itertools.permutations(range(5))
    ]
    found = random_ranking(truth, mode=mode, top_k=(1, 3), confidence=0.5)
    assert found.kendall_tau == found.spearman_rho == found.ties_scores == 0
    assert found.ties_truth == every[0].ties_truth
    assert found.regret == pytest.approx(np.mean([each.regret for each in every]))
    for k in (1, 3):
        mean = np.mean([each.precision_at[k] for each in every])
        assert found.precision_at[k] == pytest.approx(mean)
    std = np.std([each.kendall_tau for each in every])
    assert found.tau_interval[1] == pytest.approx(scipy.stats.norm.ppf(0.75) * std)


def test_random_interval_ends_where_scipy_finds_tau_significant():
    low, high = random_ranking(range(60)).tau_interval
    assert low == -high
    scores = np.arange(60)
    rng = np.random.default_rng(0)
    for _ in range(150):  # nearer to random, step by step
        i, j = rng.integers(60, size=2)
        scores[[i, j]] = scores[[j, i]]
        result = scipy.stats.kendalltau(range(60), scores)
        if abs(abs(result.statistic) - high) > 0.005:
            assert (result.pvalue < 0.05) == (abs(result.statistic) > high)


def test_random_interval_of_few_children_ends_at_one():
    assert random_ranking([1, 2, 3], top_k=(1,)).tau_interval == (-1, 1)


# Errors


FIVE = [1.0, 2.0, 3.0, 4.0, 5.0]


@pytest.mark.parametrize(
    ("truth", "scores", "message"),
    [
        (FIVE, FIVE[:4], r"scores has shape \(4,\); accepted is \(5,\)"),
        (FIVE, [FIVE], r"scores has shape \(1, 5\); accepted is \(5,\)"),
        (FIVE[:2], FIVE[:2], "truth has 2 children; accepted are at least 3"),
        (FIVE, [*FIVE[:3], math.nan, 5], r"scores\[3\] is nan; accepted are finite numbers"),
        ([math.inf, *FIVE[1:]], FIVE, r"truth\[0\] is inf; accepted are finite numbers"),
        ([2.0] * 5, FIVE, "truth is the same for all children, so tau is undefined"),
        (FIVE, [2.0] * 5, "scores is the same for all children, so tau is undefined"),
    ],
)
def test_values_without_a_ranking_are_refused(truth, scores, message):
    with pytest.raises(ValueError, match=message):
        rank(truth, scores, top_k=(1,))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"top_k": (1, 6)}, "top_k holds 6; accepted are 1 to 5, the number of"),
        ({"top_k": (0,)}, "top_k holds 0; accepted are 1 to 5"),
        ({"mode": "least"}, "mode is 'least'; accepted are 'min', 'max'"),
        ({"confidence": 95}, "confidence is 95; accepted are finite numbers above 0 and"),
    ],
)
@pytest.mark.parametrize("call", [lambda **s: rank(FIVE, FIVE[::-1], **s),
                                  lambda **s: random_ranking(FIVE, **s)])  # fmt: skip
def test_bad_settings_are_refused(call, settings, message):
    with pytest.raises(ValueError, match=message):
        call(**{"top_k": (1,), **settings})


def test_few_resamples_are_refused():
    with pytest.raises(
        ValueError, match="n_resamples is 10; accepted are whole numbers of at least"
    ):
        rank(FIVE, FIVE, top_k=(1,), n_resamples=10)
