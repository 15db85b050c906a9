"""What further seeds tell: means with intervals, paired comparisons, and the ceiling of noise.

Every seed of a supernet ranks the same children a little differently, and every training of a child
gives a little different ground truth.

[Owen2007] Owen, The pigeonhole bootstrap, Annals of Applied Statistics 1(2).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import scipy.stats
from numpy.typing import ArrayLike

from .resampling import checked, draws, percentiles, resampled_taus, tails

__all__ = ["Comparison", "MeanInterval", "NoiseCeiling", "compare", "noise_ceiling", "over_seeds"]


@dataclass(frozen=True)
class MeanInterval:
    """A mean over ``n`` seeds, Student's interval of it, and the standard deviation of a seed."""

    mean: float
    interval: tuple[float, float]
    std: float
    n: int


@dataclass(frozen=True)
class Comparison:
    """Two methods, a and b, that rank the same children.

    Attributes
    ----------
    n : int
        Children.
    taus_a, taus_b : tuple of float
        Kendall's tau of every seed.
    difference : MeanInterval
        Of tau b - tau a over seeds, for these very children.
    t_test_p, wilcoxon_p : float
        Two-sided p-values of Student's and of Wilcoxon's paired tests over seeds, for these very
        children. Wilcoxon's is never below 0.0625 with 5 seeds.
    joint_interval : tuple of float
        Interval of the mean of tau b - tau a over draws of both children and seeds.
    """

    n: int
    taus_a: tuple[float, ...]
    taus_b: tuple[float, ...]
    difference: MeanInterval
    t_test_p: float
    wilcoxon_p: float
    joint_interval: tuple[float, float]


@dataclass(frozen=True)
class NoiseCeiling:
    """How well scores can rank children at all if the ground truth is noisy.

    Attributes
    ----------
    n, seeds : int
        Children that were trained repeatedly, and how often each.
    between, within : float
        Variance of the children's true values, and of the noise of one training.
    reliability : float
        Share of the variance of a single ground truth that is not noise, from 0 to 1.
    tau_between_seeds : float
        Kendall's tau of the ground truth of one seed with that of another, mean over all pairs.
    tau_ceiling : float
        Kendall's tau that perfect scores are expected to reach against a single ground truth.
    tau_ceiling_interval : tuple of float
        Interval of it.
    """

    n: int
    seeds: int
    between: float
    within: float
    reliability: float
    tau_between_seeds: float
    tau_ceiling: float
    tau_ceiling_interval: tuple[float, float]


def over_seeds(taus: ArrayLike, *, confidence: float = 0.95) -> MeanInterval:
    """Mean over seeds with Student's interval.

    Parameters
    ----------
    taus
        Kendall's tau, or another figure, of every seed, ``(seeds,)``.
    confidence
        Of the interval.

    Raises
    ------
    ValueError
        If there are fewer than two seeds, a value is not finite, or the confidence is not between
        0 and 1.

    Examples
    --------
    >>> found = over_seeds([0.38, 0.40, 0.42])
    >>> round(found.mean, 3), [round(end, 3) for end in found.interval], round(found.std, 3)
    (0.4, [0.35, 0.45], 0.02)
    """
    array = np.asarray(taus, dtype=float)
    if array.ndim != 1 or len(array) < 2:
        raise ValueError(f"taus has shape {array.shape}; an interval needs at least two seeds")
    if not (finite := np.isfinite(array)).all():
        index = int(np.argmin(finite))
        raise ValueError(f"taus[{index}] is {array[index]}; it must be finite")
    mean, std = float(array.mean()), float(array.std(ddof=1))
    quantile = scipy.stats.t.ppf(tails(confidence)[1], len(array) - 1)
    reach = float(quantile) * std / math.sqrt(len(array))
    return MeanInterval(mean, (mean - reach, mean + reach), std, len(array))


def compare(
    truth: ArrayLike,
    scores_a: ArrayLike,
    scores_b: ArrayLike,
    *,
    n_resamples: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Comparison:
    """Compare how well two methods rank the same children.

    Difference and tests over seeds hold for these very children: with others, a method that is
    surely better here may be worse. The joint interval takes that in. It resamples children and
    seeds at once, the same ones for both methods, and is rather too wide than too narrow
    [Owen2007].

    Parameters
    ----------
    truth
        Ground truth, ``(n,)``.
    scores_a, scores_b
        ``(seeds, n)``, better in the same direction as the ground truth; row by row of the same
        seed, which had better given both methods the same initial weights and batches.
    n_resamples, seed
        Of the joint interval; the few resamples without a tau are left out.
    confidence
        Of the intervals.

    Raises
    ------
    ValueError
        If shapes do not fit, there are fewer than three children or two seeds, values are not
        finite or of a seed all equal, or a setting is out of its range.

    Examples
    --------
    >>> found = compare([1, 2, 3], [[3, 2, 1], [1, 3, 2]], [[1, 2, 3], [1, 2, 3]])
    >>> [round(tau, 3) for tau in found.taus_a], round(found.difference.mean, 3)
    ([-1.0, 0.333], 1.333)
    """
    t = checked("truth", truth, None)
    a = checked("scores_a", scores_a, None, len(t))
    b = checked("scores_b", scores_b, *a.shape)
    taus_a, taus_b = (np.array([_tau(t, row) for row in scores]) for scores in (a, b))
    difference = over_seeds(taus_b - taus_a, confidence=confidence)
    t_test_p, wilcoxon_p = _paired_tests(taus_a, taus_b)
    rng = np.random.default_rng(seed)
    counts, weights = draws(len(t), n_resamples, rng), draws(len(a), n_resamples, rng) / len(a)
    differences = [
        resampled_taus(t, after, counts) - resampled_taus(t, before, counts)
        for before, after in zip(a, b, strict=True)
    ]
    return Comparison(
        n=len(t),
        taus_a=tuple(taus_a.tolist()),
        taus_b=tuple(taus_b.tolist()),
        difference=difference,
        t_test_p=t_test_p,
        wilcoxon_p=wilcoxon_p,
        joint_interval=percentiles((weights.T * differences).sum(axis=0), confidence),
    )


def noise_ceiling(
    truths: ArrayLike, *, spread: float | None = None, confidence: float = 0.95
) -> NoiseCeiling:
    """Estimate the tau that perfect scores reach against a ground truth of one training each.

    True values and noise are taken to be normal. A true value then correlates with what one
    training shows of it by the root of the reliability r = 1 - within / spread², so that Greiner's
    relation gives tau = 2/π arcsin √r. The noise is the residual variance of children × seeds: a
    shift that a seed gives all children alike changes no ranking and is no noise.

    Parameters
    ----------
    truths
        Ground truths of repeated trainings, ``(children, seeds)``.
    spread
        Standard deviation of the ground truth, noise included, among the children that are
        ranked, when these are more than were trained repeatedly. By default that of ``truths``.
    confidence
        Of the interval, which is for ``within`` alone; ``spread`` is taken to be exact.

    Raises
    ------
    ValueError
        If there are fewer than three children or two seeds, values are not finite or of a seed all
        equal, or a setting is out of its range.

    Examples
    --------
    >>> found = noise_ceiling([[1.0, 1.2], [2.0, 1.8], [3.0, 3.0]])
    >>> round(found.within, 3), round(found.reliability, 3), round(found.tau_ceiling, 3)
    (0.02, 0.978, 0.906)
    """
    t = checked("truths", truths, None, None, children=0)
    n, seeds = t.shape
    if seeds < 2:
        raise ValueError(f"truths has {seeds} seed; noise shows in two seeds at least")
    degrees = (n - 1) * (seeds - 1)
    residual = t - t.mean(axis=0) - t.mean(axis=1, keepdims=True) + t.mean()
    within = float((residual**2).sum()) / degrees
    between = max(0.0, float(t.mean(axis=1).var(ddof=1)) - within / seeds)
    if spread is None:
        spread = math.sqrt(between + within)
    elif not (math.isfinite(spread) and spread > 0):
        raise ValueError(f"spread is {spread!r}; it must be a standard deviation above 0")
    low, high = scipy.stats.chi2.ppf(tails(confidence), degrees)
    return NoiseCeiling(
        n=n,
        seeds=seeds,
        between=between,
        within=within,
        reliability=_reliability(within, spread),
        tau_between_seeds=float(np.mean([_tau(a, b) for a, b in combinations(t.T, 2)])),
        tau_ceiling=_ceiling(within, spread),
        tau_ceiling_interval=(
            _ceiling(within * degrees / low, spread),
            _ceiling(within * degrees / high, spread),
        ),
    )


def _reliability(within: float, spread: float) -> float:
    return max(0.0, 1 - within / spread**2)


def _ceiling(within: float, spread: float) -> float:
    return 2 / math.pi * math.asin(math.sqrt(_reliability(within, spread)))


def _tau(truth: np.ndarray, scores: np.ndarray) -> float:
    return float(scipy.stats.kendalltau(truth, scores).statistic)


def _paired_tests(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """P-values of Student's and Wilcoxon's test, which know no answer without a difference."""
    if np.array_equal(a, b):
        return 1.0, 1.0
    return float(scipy.stats.ttest_rel(b, a).pvalue), float(scipy.stats.wilcoxon(b, a).pvalue)
