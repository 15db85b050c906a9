"""Pareto search: against the front of a space that is enumerated, and against itself replayed."""

import itertools
import json
import logging
import sys

import numpy as np
import pytest
from spaces import ConstrainedSpace, FlatSpace, MixedSpace

from nni_magic.children.samples import digest
from nni_magic.search.pareto import pareto_search

NAN, INF = float("nan"), float("inf")
LOSS = [[3.0, 1.1, 0.2], [2.0, 1.4, 0.4], [5.0, 2.0, 1.9], [0.6, 0.55, 0.5], [1.0, 0.7, 0.1]]
COST = [[1.0, 2.0, 4.0], [1.0, 3.0, 3.5], [2.0, 5.0, 5.5], [1.0, 1.5, 7.0], [0.5, 1.0, 2.5]]


def total(table, sample):
    return sum(row[choice] for row, choice in zip(table, sample.values(), strict=True))


def score(samples):
    return [total(LOSS, sample) for sample in samples]


def cost(sample):
    return total(COST, sample)


def depth(sample):
    return -sample["block_1"]


COSTS = {"parameters (M)": cost}
SMALL = {"seed": 3, "generations": 5, "population": 8}


def true_front(points):
    """By the definition, one pair after the other."""

    def dominates(a, b):
        return all(x <= y for x, y in zip(a, b, strict=True)) and a != b

    return sorted(p for p in points if not any(dominates(q, p) for q in points))


def everything():
    labels = [f"block_{n}" for n in range(1, 6)]
    return [dict(zip(labels, each, strict=True)) for each in itertools.product(range(3), repeat=5)]


@pytest.fixture(scope="module")
def space():
    return FlatSpace(5, 3)


# The front


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("mode", ["min", "max"])
def test_true_front_of_a_small_space_is_found(space, mode, seed):
    sign = 1 if mode == "min" else -1
    front = pareto_search(
        space, lambda samples: [sign * s for s in score(samples)], COSTS,
        seed=seed, generations=8, population=25, mode=mode,
    )  # fmt: skip
    found = [(*child.costs, sign * child.score) for child in front.children]
    wanted = true_front([(cost(s), total(LOSS, s)) for s in everything()])
    assert len(wanted) > 10
    np.testing.assert_allclose(found, wanted)
    assert len(front.scored) <= 200 < 3**5
    assert len({child.name for child in front.scored}) == len(front.scored)


def test_front_of_three_objectives(space):
    front = pareto_search(
        space, score, {**COSTS, "depth": depth}, seed=0, generations=12, population=30
    )
    points = true_front([(cost(s), depth(s), total(LOSS, s)) for s in everything()])
    np.testing.assert_allclose([(*c.costs, c.score) for c in front.children], points)
    assert front.cost_names == ["parameters (M)", "depth"]


# What is scored


def test_a_generation_is_scored_in_one_call_and_no_child_twice(space):
    calls = []

    def counted(samples):
        calls.append([digest(sample) for sample in samples])
        return score(samples)

    front = pareto_search(space, counted, COSTS, **SMALL)
    assert [len(call) for call in calls] == [8] * 5
    asked = [name for call in calls for name in call]
    assert [child.name for child in front.scored] == asked
    assert len({*asked}) == 40


def test_search_ends_when_the_space_is_exhausted():
    front = pareto_search(
        FlatSpace(2, 3), lambda samples: range(len(samples)), {"c": lambda sample: 0},
        seed=0, generations=50, population=4,
    )  # fmt: skip
    assert len(front.scored) == 9


@pytest.mark.parametrize("population", [1, 2])
def test_smallest_populations_work(space, population):
    front = pareto_search(space, score, COSTS, seed=0, generations=4, population=population)
    assert len(front.scored) == 4 * population


def test_only_allowed_children_are_scored_and_start_comes_first(space):
    start = {f"block_{n}": 1 for n in range(1, 6)}
    filters = [lambda sample: sample["block_1"] == 1, lambda sample: cost(sample) < 17]
    front = pareto_search(space, score, COSTS, **SMALL, filter=filters, start=[start])
    assert front.scored[0].sample == start
    assert len(front.scored) == 40
    assert all(f(child.sample) for f in filters for child in front.scored)


def test_spaces_that_are_not_flat():
    front = pareto_search(
        ConstrainedSpace(), lambda samples: [1.0] * len(samples), {"c": lambda sample: 1.0},
        seed=0, generations=9, population=6,
    )  # fmt: skip
    assert len(front.scored) == len(front.children) == 18
    front = pareto_search(
        MixedSpace(), lambda samples: [s["kernel"] for s in samples], {"c": lambda s: -s["depth"]},
        seed=0, generations=4, population=10,
    )  # fmt: skip
    assert len({child.name for child in front.scored}) == 40
    assert (front.children[0].score, front.children[0].costs) == (1, (-3.0,))


def test_same_seed_same_children(space):
    first = pareto_search(space, score, COSTS, **SMALL)
    np.random.seed(5)
    assert pareto_search(space, score, COSTS, **SMALL) == first
    assert pareto_search(space, score, COSTS, **{**SMALL, "seed": 4}) != first


class Stop(Exception):
    pass


def test_search_stopped_after_any_generation_is_replayed_from_what_is_known(space):
    whole = pareto_search(space, score, COSTS, **SMALL)
    for done in range(6):
        taken = []

        def measured(sample, taken=taken):  # a latency would not come out the same again
            taken.append(sample)
            return cost(sample)

        def stopping(samples, taken=taken, done=done):
            if len(taken) == 8 * done:
                raise Stop
            return score(samples)

        known = {}
        if done < 5:
            with pytest.raises(Stop):
                pareto_search(space, stopping, {"parameters (M)": measured}, **SMALL, known=known)
        else:
            pareto_search(space, score, {"parameters (M)": measured}, **SMALL, known=known)
        assert len(known) == len(taken) == 8 * done
        known = json.loads(json.dumps(known))
        again = pareto_search(space, score, {"parameters (M)": measured}, **SMALL, known=known)
        assert again == whole
        assert len(taken) == len(known) == 40


def test_values_that_are_not_finite_are_left_out_counted_and_named(space, caplog):
    def failing(samples):
        return [NAN if s["block_1"] == 0 else -INF if s["block_2"] == 0 else total(LOSS, s)
                for s in samples]  # fmt: skip

    def no_cost(sample):
        return INF if sample["block_3"] == 0 else cost(sample)

    with caplog.at_level(logging.WARNING):
        front = pareto_search(space, failing, {"c": no_cost}, seed=0, generations=8, population=25)
    bad = [c for c in front.scored if 0 in (c.sample[f"block_{n}"] for n in (1, 2, 3))]
    assert front.failed == [child.name for child in bad]
    assert f"The score or a cost of {len(bad)} children is not finite" in caplog.text
    assert ", ".join(front.failed) in caplog.text
    good = [s for s in everything() if 0 not in (s[f"block_{n}"] for n in (1, 2, 3))]
    wanted = true_front([(cost(s), total(LOSS, s)) for s in good])
    np.testing.assert_allclose([(*c.costs, c.score) for c in front.children], wanted)
    # They are not parents: random children would have found 0.7 of the good ones.
    assert len(front.scored) < 0.8 * 3**5
    assert len(front.scored) - len(bad) == len(good)


def test_nothing_finite_gives_an_empty_front(space):
    front = pareto_search(space, lambda samples: [NAN] * len(samples), COSTS, **SMALL)
    assert front.children == []
    assert len(front.failed) == 40


# Errors


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"costs": {}}, "costs is {}; accepted are mappings of at least one name to a function"),
        ({"generations": 0}, "generations is 0; accepted are whole numbers of at least 1"),
        ({"population": 0}, "population size is 0; accepted are whole numbers of at least 1"),
        ({"mutation": 2}, "mutation is 2; accepted are numbers from 0 to 1"),
        ({"mode": "least"}, "mode is 'least'; accepted are 'min', 'max'"),
        ({"start": [{"block_1": 0}]}, "start sample .* is not in the space"),
        ({"score": lambda samples: [1.0]}, "there are 1 scores for 8 samples"),
    ],
)
def test_bad_arguments_are_refused(space, settings, message):
    with pytest.raises(ValueError, match=message):
        pareto_search(space, **{"score": score, "costs": COSTS, **SMALL, **settings})


def test_known_of_other_costs_is_refused(space):
    known = {}
    pareto_search(space, score, COSTS, **SMALL, known=known)
    with pytest.raises(ValueError, match=r"known holds 1 costs of child \w+; accepted .* a, b"):
        pareto_search(space, score, {"a": cost, "b": cost}, **SMALL, known=known)


def test_score_of_the_other_direction_is_refused(space):
    def accuracy(samples):
        raise AssertionError

    accuracy.mode = "max"
    with pytest.raises(ValueError, match="mode is 'min', but that of the score is 'max'"):
        pareto_search(space, accuracy, COSTS, **SMALL, mode="min")


def test_missing_pymoo_says_how_to_get_it(space, monkeypatch):
    monkeypatch.setitem(sys.modules, "pymoo", None)
    with pytest.raises(ModuleNotFoundError, match=r"needs pymoo: pip install nni-magic\[pareto\]"):
        pareto_search(space, score, COSTS, **SMALL)
