r"""Search by a performance predictor: score the children that it expects most of [White2021].

.. math::
    A_{g+1} = \text{top}_n \{a(\alpha) : \alpha \in P_g\}, \qquad
    EI(\alpha) = \sigma (z \Phi(z) + \varphi(z)), \quad z = \frac{y^* - \mu}{\sigma}

==================  ====================================================================
:math:`P_g`         ``pool`` children not scored yet: offspring of the best, and random ones
:math:`a`           minus the predicted score :math:`\mu` of boosted trees (``boosting``), or the
                    expected improvement EI of a Gaussian process (``gaussian_process``)
:math:`y^*`         the best score known
==================  ====================================================================

A predictor is fitted anew for every generation, on one-hot codes of all children scored: a column
for every choice of every label, 0 where the label is not active. The models are scikit-learn's.

::

    ranked = PredictorSearch(predictor="boosting", seed=0).search(space, score)

[White2021] White et al., How Powerful are Performance Predictors in Neural Architecture Search?
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast, get_args

import numpy as np
import scipy.stats
from nni.mutable import LabeledMutable, Mutable, Sample

from ..samplers.base import Sampler
from ..support.errors import check_choice, check_count
from .evolution import Evolution
from .population import Population

__all__ = [
    "PredictedPopulation",
    "Predictor",
    "PredictorSearch",
    "expectations",
    "log_improvement",
    "one_hot",
    "population_of",
]

Predictor = Literal["boosting", "gaussian_process"]
"""What predicts the scores of children."""

POOL = 1000
"""Children that a predictor chooses a generation from."""
FEWEST = 3
"""Scored children from which on there is anything to learn."""


def one_hot(samples: Sequence[Sample], space: Sampler) -> np.ndarray:
    """Code children by their active choices.

    Parameters
    ----------
    samples
        Children.
    space
        A sampler of their space, which knows the candidates and what is active.

    Returns
    -------
    numpy.ndarray
        ``(samples, candidates of all labels)``, of 0 and 1.
    """
    widths = [len(choices) for choices in space.candidates.values()]
    starts = dict(zip(space.candidates, np.cumsum([0, *widths]).tolist(), strict=False))
    codes = np.zeros((len(samples), sum(widths)))
    for row, sample in zip(codes, samples, strict=True):
        for label in space.active_labels(sample):
            row[starts[label] + space.candidates[label].index(sample[label])] = 1
    return codes


def expectations(
    predictor: Predictor, codes: np.ndarray, losses: np.ndarray, pool: np.ndarray, seed: int
) -> np.ndarray:
    """What is expected of the children of a pool; the larger the better.

    Parameters
    ----------
    predictor
        Which.
    codes, losses
        Of the children scored, ``(n, d)`` and ``(n,)``; smaller is better.
    pool
        Codes of the others, ``(m, d)``.
    seed
        Of the predictor.

    Returns
    -------
    numpy.ndarray
        ``(m,)``: minus the predicted loss in standard deviations, or the logarithm of the expected
        improvement.
    """
    spread = losses.std()
    values = (losses - losses.mean()) / (spread if spread > 0 else 1.0)
    predicted = _boosted if predictor == "boosting" else _improvement
    return predicted(codes, values, pool, seed)


def _boosted(codes: np.ndarray, values: np.ndarray, pool: np.ndarray, seed: int) -> np.ndarray:
    # Here, as scikit-learn takes a second to load.
    from sklearn.ensemble import GradientBoostingRegressor

    trees = GradientBoostingRegressor(
        n_estimators=200, learning_rate=0.05, max_depth=3, subsample=0.8, random_state=seed
    )
    return np.asarray(-trees.fit(codes, values).predict(pool))


def _improvement(codes: np.ndarray, values: np.ndarray, pool: np.ndarray, seed: int) -> np.ndarray:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

    # Children that differ in k choices are at a distance of (2 k)^0.5.
    kernel = ConstantKernel(1.0, (0.1, 100)) * RBF(2.0, (0.5, 50)) + WhiteKernel(0.1, (1e-4, 1))
    process = GaussianProcessRegressor(kernel, random_state=seed)
    with warnings.catch_warnings():
        # A scale that comes to its bound, as of equal scores, is as good as any.
        warnings.simplefilter("ignore", ConvergenceWarning)
        mean, std = process.fit(codes, values).predict(pool, return_std=True)
    return log_improvement(values.min(), mean, np.maximum(std, 1e-9))


def log_improvement(best: float, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """Logarithm of the expected improvement over the best loss, which is 0 for many in floats.

    Examples
    --------
    >>> log_improvement(0.0, np.array([0.0, 100.0]), np.array([1.0, 1.0])).round(1).tolist()
    [-0.9, -5010.1]
    """
    z = (best - mean) / std
    log_pdf, log_cdf = scipy.stats.norm.logpdf(z), scipy.stats.norm.logcdf(z)
    near = z > -1e3  # further off, 1 + z cdf / pdf is its limit, z to the power of -2
    ratio = np.where(near, z * np.exp(log_cdf - log_pdf), 0.0)
    factor = np.where(near, np.log1p(ratio), -2 * np.log(np.where(near, 1.0, -z)))
    return np.asarray(np.log(std) + log_pdf + factor)


class PredictedPopulation(Population):
    """A population whose generations are the children that a predictor expects most of.

    The first generation is that of a :class:`~nni_magic.search.population.Population`, as are
    asking, telling and the state: what a generation is depends on the seed, its number and the
    scores told before.

    Parameters
    ----------
    space
        See :class:`~nni_magic.search.population.Population`.
    predictor
        ``boosting`` or ``gaussian_process``.
    pool
        Children that the predictor chooses from; half of them are offspring, half are random.
    **settings
        Those of :class:`~nni_magic.search.population.Population`.

    Raises
    ------
    ValueError
        If a setting is out of its range.
    """

    def __init__(
        self,
        space: Mutable | Mapping[str, LabeledMutable],
        *,
        predictor: Predictor = "boosting",
        pool: int = POOL,
        **settings: Any,
    ) -> None:
        check_choice("predictor", predictor, get_args(Predictor))
        super().__init__(space, **settings)
        check_count("pool", pool, at_least=self.size)
        self.predictor: Predictor = predictor
        self.pool = pool

    def _propose(self) -> dict[str, Sample]:
        known = [child for child in self._scored.values() if math.isfinite(child.score)]
        if len(known) < FEWEST:
            return super()._propose()
        children = self._pool()
        if len(children) <= self.size:
            return children
        sign = 1 if self.mode == "min" else -1
        expected = expectations(
            self.predictor,
            one_hot([child.sample for child in known], self.sampler),
            np.array([sign * child.score for child in known]),
            one_hot(list(children.values()), self.sampler),
            int(np.random.default_rng([self.seed, self.generation, 2]).integers(2**31)),
        )
        names = list(children)
        best = np.argsort(-expected, kind="stable")[: self.size]
        return {names[i]: children[names[i]] for i in best}

    def _pool(self) -> dict[str, Sample]:
        """Children not scored yet, drawn as a generation is: offspring first, then random ones."""
        rng = np.random.default_rng([self.seed, self.generation, 0])
        self.sampler.reset([self.seed, self.generation, 1])
        parents = [child.sample for child in self.best(self.size)]
        children: dict[str, Sample] = {}
        self._fill(children, lambda: self._offspring(parents, rng), self.pool // 2)
        self._fill(children, self.sampler.propose, self.pool)
        return children


def population_of(
    search_by: str, space: Mutable | Mapping[str, LabeledMutable], **settings: Any
) -> Population:
    """Create the population of a search engine: ``evolution``, or a predictor by its name.

    Parameters
    ----------
    search_by
        The engine.
    space, **settings
        See :class:`~nni_magic.search.population.Population`.
    """
    if search_by == "evolution":
        return Population(space, **settings)
    check_choice("search_by", search_by, ("evolution", *get_args(Predictor)))
    predictor = cast(Predictor, search_by)
    pool = max(POOL, 4 * settings["size"])
    return PredictedPopulation(space, predictor=predictor, pool=pool, **settings)


class PredictorSearch(Evolution):
    """Searches as :class:`~nni_magic.search.evolution.Evolution` does, by a predictor.

    Parameters
    ----------
    predictor, pool
        See :class:`PredictedPopulation`.
    **settings
        Those of :class:`~nni_magic.search.evolution.Evolution`.

    Raises
    ------
    ValueError
        If a setting is out of its range.
    """

    def __init__(
        self, *, predictor: Predictor = "boosting", pool: int = POOL, **settings: Any
    ) -> None:
        check_choice("predictor", predictor, get_args(Predictor))
        super().__init__(**settings)
        check_count("pool", pool, at_least=self._breeding["size"])
        self._predicting: dict[str, Any] = {"predictor": predictor, "pool": pool}

    def make_population(self, space: Mutable, **settings: Any) -> Population:
        return PredictedPopulation(space, **self._predicting, **settings)
