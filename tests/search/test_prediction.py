"""Search by a predictor: codes, expectations, ask and tell, and as an engine over a supernet."""

import math

import numpy as np
import pytest
import torch
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.space import RawFormatModelSpace
from scipy.stats import kendalltau, norm
from spaces import ConvSpace, FlatSpace, MixedSpace, supernet
from training import Watch, classification

from nni_magic.samplers import UniformSampler
from nni_magic.search import Population, PredictorSearch
from nni_magic.search.prediction import (
    PredictedPopulation,
    expectations,
    log_improvement,
    one_hot,
    population_of,
)

KINDS = ("boosting", "gaussian_process")
SMALL = {"generations": 3, "population": 8, "seed": 0, "pool": 60}


def loss(sample):
    """Every block counts, the later ones more; the best child has 2 everywhere."""
    return float(sum((n + 1) * (2 - choice) for n, choice in enumerate(sample.values())))


def score(samples):
    return list(map(loss, samples))


def test_codes_are_of_active_choices():
    sampler = UniformSampler(MixedSpace(), seed=0)
    sample = {**sampler.next(), "depth": 1, "op_1": "skip"}
    [code] = one_hot([sample], sampler)
    columns = [(label, str(c)) for label, own in sampler.candidates.items() for c in own]
    held = {columns[i] for i in np.flatnonzero(code)}
    active = sampler.active_labels(sample)
    assert not {"op_2", "op_3"} & set(active)
    assert held == {(label, str(sample[label])) for label in active}


@pytest.mark.parametrize("predictor", KINDS)
def test_expectations_rank_children_that_were_not_scored(predictor):
    sampler = UniformSampler(FlatSpace(5, 3), seed=1)
    children = list({sampler.name(c): c for c in (sampler.next() for _ in range(200))}.values())
    codes, losses = one_hot(children, sampler), np.array(score(children))
    found = expectations(predictor, codes[:60], losses[:60], codes[60:], seed=0)
    assert kendalltau(-losses[60:], found).statistic > 0.5
    again = expectations(predictor, codes[:60], losses[:60], codes[60:], seed=0)
    assert np.array_equal(found, again)


@pytest.mark.parametrize(("mean", "std"), [(0.3, 1.0), (-2.0, 0.5), (1.0, 0.3), (4.0, 2.0)])
def test_improvement_is_the_mean_over_the_predictive_distribution(mean, std):
    best = 0.1
    grid = np.linspace(mean - 12 * std, mean + 12 * std, 200001)
    improvement = np.maximum(best - grid, 0) * norm.pdf(grid, mean, std)
    expected = np.log(np.trapezoid(improvement, grid))
    [found] = log_improvement(best, np.array([mean]), np.array([std]))
    assert found == pytest.approx(expected, rel=1e-4)


def test_improvement_that_floats_cannot_hold_still_ranks():
    found = log_improvement(0.0, np.array([1.0, 90.0, 990.0, 1010.0, 1e6]), np.ones(5))
    assert np.isfinite(found).all()
    assert (np.diff(found) < 0).all()


@pytest.mark.parametrize("predictor", KINDS)
@pytest.mark.parametrize("mode", ["min", "max"])
def test_best_child_of_a_space_is_found_among_few(predictor, mode):
    sign = 1 if mode == "min" else -1
    ranked = PredictorSearch(
        **{**SMALL, "generations": 5, "pool": 200}, predictor=predictor, mode=mode
    ).search(FlatSpace(5, 3), lambda samples: [sign * value for value in score(samples)])
    assert len(ranked) == 40  # of 243
    assert sign * ranked[0].score == 0
    assert len({str(child.sample) for child in ranked}) == 40


@pytest.mark.parametrize("predictor", KINDS)
def test_stopped_search_goes_on_as_if_it_had_not_stopped(predictor):
    class Kill(Exception):
        pass

    whole = PredictorSearch(**SMALL, predictor=predictor).search(FlatSpace(5, 3), score)
    calls = []

    def stops(samples):
        calls.append(samples)
        if len(calls) == 3:
            raise Kill
        return score(samples)

    stopped = PredictorSearch(**SMALL, predictor=predictor)
    with pytest.raises(Kill):
        stopped.search(FlatSpace(5, 3), stops)
    resumed = PredictorSearch(**{**SMALL, "seed": 9}, predictor=predictor)
    resumed.load_state_dict(stopped.state_dict())
    assert resumed.search(FlatSpace(5, 3), score) == whole


def test_generations_are_the_expected_best_of_the_pool():
    population = PredictedPopulation(FlatSpace(5, 3), seed=0, size=10, pool=80)
    for _ in range(2):
        population.tell(asked := population.ask(), score(asked))
    pool, asked = population._pool(), population.ask()
    assert len(pool) == 80
    known = population.best()
    assert not {str(child.sample) for child in known} & set(map(str, pool.values()))
    names = {population.sampler.name(child) for child in asked}
    assert len(names) == 10
    assert names <= pool.keys()
    losses = np.array([loss(child) for child in pool.values()])
    assert np.mean(score(asked)) < np.percentile(losses, 25)


def test_scores_that_are_not_numbers_are_left_out():
    population = PredictedPopulation(FlatSpace(5, 3), seed=0, size=6, pool=40)
    asked = population.ask()
    population.tell(asked, [math.nan, math.inf, *score(asked[2:])])
    assert len(population.ask()) == 6
    nothing = PredictedPopulation(FlatSpace(5, 3), seed=0, size=6, pool=40)
    assert nothing.ask() == asked
    nothing.tell(asked, [math.nan] * 6)
    assert len(nothing.ask()) == 6


def test_filter_holds_and_a_small_space_is_searched_whole():
    def allowed(child):
        return child["block_1"] != 1

    ranked = PredictorSearch(**{**SMALL, "generations": 9}, filter=allowed).search(
        FlatSpace(2, 3), score
    )
    assert len(ranked) == 6
    assert all(allowed(child.sample) for child in ranked)


@pytest.mark.parametrize("predictor", KINDS)
def test_equal_scores_say_nothing_and_are_no_error(predictor):
    ranked = PredictorSearch(**SMALL, predictor=predictor).search(
        FlatSpace(5, 3), lambda samples: [1.0] * len(samples)
    )
    assert len(ranked) == 24


def test_searches_a_supernet_as_a_strategy():
    torch.manual_seed(0)
    space = RawFormatModelSpace.from_model(supernet(ConvSpace()), classification(Watch()))
    strategy = PredictorSearch(generations=2, population=4, pool=20, seed=0, n_batches=1)
    strategy(space, SequentialExecutionEngine())
    scores = [model.metric for model in strategy.list_models(limit=None)]
    assert len(scores) == 8
    assert scores == sorted(scores)
    with pytest.raises(RuntimeError, match="PredictorSearch has not run: there are no models to"):
        list(PredictorSearch(seed=0).list_models())


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"predictor": "network"}, "predictor is 'network'; accepted are 'boosting', 'gaussian_pr"),
        ({"pool": 7}, "pool is 7; accepted are whole numbers of at least 8"),
        ({"population": 0}, "population size is 0; accepted are whole numbers of at least 1"),
    ],
)
def test_settings_out_of_range_are_refused(setting, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        PredictorSearch(**{**SMALL, **setting})


@pytest.mark.parametrize("name", ["evolution", *KINDS])
def test_population_of_an_engine_begins_alike_and_is_of_its_kind(name):
    population = population_of(name, FlatSpace(5, 3), size=6, seed=0)
    assert population.ask() == Population(FlatSpace(5, 3), size=6, seed=0).ask()
    assert getattr(population, "predictor", "evolution") == name


def test_unknown_engine_is_refused():
    with pytest.raises(ValueError, match="search_by is 'luck'; accepted are 'evolution', 'boost"):
        population_of("luck", FlatSpace(), size=6, seed=0)
