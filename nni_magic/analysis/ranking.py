r"""How well scores rank children: Kendall's tau with its interval, and what it must beat.

The ground truth is what children reach when each is trained alone; the scores are what a supernet,
a count of parameters or anything else predicts. Kendall's :math:`\tau_b` [Kendall1945] is

.. math:: \tau_b = \frac{\sum_{i<j} \mathrm{sgn}(t_i - t_j)\,\mathrm{sgn}(s_i - s_j)}
                        {\sqrt{\#\{i<j: t_i \ne t_j\} \; \#\{i<j: s_i \ne s_j\}}}

with ground truth :math:`t` and scores :math:`s`. Its interval here is for other children that might
have been drawn; what another seed of the supernet does to it is in :mod:`.seeds`.

[Kendall1945] Kendall, The treatment of ties in ranking problems, Biometrika 33(3).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.stats
from numpy.typing import ArrayLike

from ..support.errors import check_choice, check_seed
from ..support.kinds import fits
from ..support.modes import Mode
from .resampling import checked, draws, percentiles, resampled_taus, tails

__all__ = ["Ranking", "random_ranking", "rank"]

TOP_K = (1, 5, 10)


@dataclass(frozen=True)
class Ranking:
    """How well scores rank children.

    Attributes
    ----------
    n : int
        Number of children.
    ties_truth, ties_scores : int
        Pairs of children with the same ground truth, and with the same score.
    kendall_tau : float
        Kendall's tau-b, from -1 to 1.
    spearman_rho : float
        Spearman's rank correlation, from -1 to 1.
    precision_at : dict
        Maps k to the share of the truly best k children that are among the k ranked first, 0 to 1.
    regret : float
        By how much the ground truth of the child ranked first is worse than the best, at least 0,
        in the unit of the ground truth.
    tau_interval : tuple of float
        Interval of tau, for other children that might have been drawn.
    """

    n: int
    ties_truth: int
    ties_scores: int
    kendall_tau: float
    spearman_rho: float
    precision_at: dict[int, float]
    regret: float
    tau_interval: tuple[float, float]


def rank(
    truth: ArrayLike,
    scores: ArrayLike,
    *,
    mode: Mode = "min",
    top_k: Sequence[int] = TOP_K,
    n_resamples: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Ranking:
    """Tell how well scores rank children.

    Parameters
    ----------
    truth
        Ground truth, ``(n,)``.
    scores
        ``(n,)``, of the same children and better in the same direction. Where small is good,
        ``-params`` ranks by parameters, the largest child first.
    mode
        Whether smaller (``min``) or larger (``max``) values are better.
    top_k
        Every k of the precision. Precision and regret are those expected when ties in the scores
        and, independently, in the ground truth are broken at random.
    n_resamples
        Resamples of the children for the percentile interval of tau. The few in which all ground
        truths or all scores are equal have no tau and are left out.
    seed
        Seed of the resamples.
    confidence
        Confidence of the interval, between 0 and 1.

    Raises
    ------
    ValueError
        If truth and scores are not equally many, at least three, finite and not all equal, or a
        setting is out of its range.

    Examples
    --------
    >>> found = rank([1.0, 2.0, 3.0, 4.0], [0.2, 0.2, 0.1, 0.4], top_k=(1, 2))
    >>> round(found.kendall_tau, 3), found.ties_scores, found.precision_at, found.regret
    (0.183, 1, {1: 0.0, 2: 0.5}, 2.0)
    """
    t = checked("truth", truth, None)
    s = checked("scores", scores, len(t))
    check_seed("seed", seed)
    counts = draws(len(t), n_resamples, np.random.default_rng(seed))
    return Ranking(
        n=len(t),
        ties_truth=_tied_pairs(t),
        ties_scores=_tied_pairs(s),
        kendall_tau=float(scipy.stats.kendalltau(t, s).statistic),
        spearman_rho=float(scipy.stats.spearmanr(t, s).statistic),
        precision_at=_precision(t, s, mode, top_k),
        regret=_regret(t, s, mode),
        tau_interval=percentiles(resampled_taus(t, s, counts), confidence),
    )


def random_ranking(
    truth: ArrayLike,
    *,
    mode: Mode = "min",
    top_k: Sequence[int] = TOP_K,
    confidence: float = 0.95,
) -> Ranking:
    """Tell what a ranking at random, without ties, is expected to reach.

    Parameters
    ----------
    truth, mode, top_k
        As of :func:`rank`.
    confidence
        Share of random rankings whose tau falls inside the interval, by the normal approximation.
        Without ties the variance of tau is 2(2n + 5) / (9n(n - 1)).

    Raises
    ------
    ValueError
        As by :func:`rank`.

    Examples
    --------
    >>> found = random_ranking([1, 2, 3, 4], top_k=(1, 2))
    >>> found.kendall_tau, found.precision_at, found.regret
    (0.0, {1: 0.25, 2: 0.5}, 1.5)
    >>> [round(end, 3) for end in random_ranking(range(60)).tau_interval]
    [-0.174, 0.174]
    """
    t = checked("truth", truth, None)
    alike = np.zeros(len(t))  # ties that are broken at random
    reach = scipy.stats.norm.ppf(tails(confidence)[1]) * _random_tau_std(t)
    reach = min(1.0, float(reach))
    return Ranking(
        n=len(t),
        ties_truth=_tied_pairs(t),
        ties_scores=0,
        kendall_tau=0.0,
        spearman_rho=0.0,
        precision_at=_precision(t, alike, mode, top_k),
        regret=_regret(t, alike, mode),
        tau_interval=(-reach, reach),
    )


def _random_tau_std(truth: np.ndarray) -> float:
    """Standard deviation of tau-b of random rankings without ties [Kendall1945].

    Examples
    --------
    >>> round(_random_tau_std(np.arange(60)), 4)
    0.0886
    """
    n, ties = len(truth), np.unique_counts(truth).counts
    variance = (n * (n - 1) * (2 * n + 5) - (ties * (ties - 1) * (2 * ties + 5)).sum()) / 18
    pairs = math.comb(n, 2)
    return math.sqrt(variance / (pairs * (pairs - _tied_pairs(truth))))


def _tied_pairs(values: np.ndarray) -> int:
    counts = np.unique_counts(values).counts
    return int((counts * (counts - 1) // 2).sum())


def _precision(
    truth: np.ndarray, scores: np.ndarray, mode: Mode, top_k: Sequence[int]
) -> dict[int, float]:
    if not isinstance(top_k, (list, tuple, range)):
        raise ValueError(f"top_k is {top_k!r}; accepted are lists of whole numbers")
    for k in top_k:
        if not fits(k, int) or not 1 <= k <= len(truth):
            raise ValueError(
                f"top_k holds {k!r}; accepted are 1 to {len(truth)}, the number of children"
            )
    return {k: float(_in_top(truth, k, mode) @ _in_top(scores, k, mode)) / k for k in top_k}


def _regret(truth: np.ndarray, scores: np.ndarray, mode: Mode) -> float:
    best = truth.min() if mode == "min" else truth.max()
    return float(_in_top(scores, 1, mode) @ np.abs(truth - best))


def _in_top(values: np.ndarray, k: int, mode: Mode) -> np.ndarray:
    """Probability of every child to be among the best k if ties are broken at random.

    Examples
    --------
    >>> _in_top(np.array([3.0, 1.0, 2.0, 2.0]), 2, "min").tolist()
    [0.0, 1.0, 0.5, 0.5]
    """
    check_choice("mode", mode, ("min", "max"))
    losses = values if mode == "min" else -values
    last = np.partition(losses, k - 1)[k - 1]
    sure, tied = losses < last, losses == last
    return sure + tied * (k - sure.sum()) / tied.sum()
