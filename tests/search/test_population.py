"""Population: against enumeration of small spaces, and against itself stopped and resumed."""

import copy
import itertools
import json
import logging
import math
import random
from collections import Counter

import numpy as np
import pytest
import torch
from nni.nas.profiler.pytorch.flops import NumParamsProfiler
from scipy.stats import binom, chisquare
from spaces import WIDTH, CellSpace, ConstrainedSpace, FlatSpace, MixedSpace, SizedSpace, supernet

from nni_magic.scoring.scored import ScoredChild
from nni_magic.search.population import Population, mutate

NAN = float("nan")


def key(sample):
    return tuple(sorted((label, repr(choice)) for label, choice in sample.items()))


def noise(sample):
    """A score without any structure, the same in every process."""
    return random.Random(repr(key(sample))).random()


def evolve(population, generations, score=noise):
    """Ask and tell; the generations asked."""
    asked = []
    for _ in range(generations):
        asked.append(population.ask())
        population.tell(asked[-1], [score(sample) for sample in asked[-1]])
    return asked


def everything(space):
    choices = {label: list(mutable.values) for label, mutable in space.simplify().items()}
    return [dict(zip(choices, each, strict=True)) for each in itertools.product(*choices.values())]


# What is asked


def test_every_child_is_asked_once_then_none():
    population = Population(FlatSpace(4, 3), seed=0, size=10)
    asked = evolve(population, 12)
    children = [key(sample) for generation in asked for sample in generation]
    assert len(children) == len(set(children)) == 3**4
    assert [len(generation) for generation in asked[:7]] == [10] * 7
    assert asked[-1] == population.ask() == []
    best = min(map(noise, everything(FlatSpace(4, 3))))
    assert population.best(1)[0].score == best


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("mode", ["min", "max"])
def test_optimum_of_a_larger_space_is_found_by_scoring_a_part(seed, mode):
    space = FlatSpace(6, 4)
    weights = np.random.default_rng(seed).normal(size=(6, 4))

    def score(sample):
        return float(sum(weights[n, choice] for n, choice in enumerate(sample.values())))

    population = Population(space, seed=seed, size=30, mode=mode)
    evolve(population, 20, score)
    pick = min if mode == "min" else max
    assert population.best(1)[0].score == pytest.approx(pick(map(score, everything(space))))


def test_a_generation_is_the_same_until_it_is_told():
    population = Population(FlatSpace(), seed=0, size=5)
    first = population.ask()
    again = population.ask()
    assert again == first
    again[0]["block_1"] = "changed by the caller"
    assert population.ask() == first
    population.tell(first, range(5))
    assert not any(sample in first for sample in population.ask())


def test_same_seed_same_children_and_global_generators_play_no_part():
    space = FlatSpace(6, 4)
    before = random.getstate(), np.random.get_state()[2], torch.get_rng_state().tolist()
    first = evolve(Population(space, seed=7, size=10), 5)
    assert (random.getstate(), np.random.get_state()[2], torch.get_rng_state().tolist()) == before
    np.random.seed(1)
    assert evolve(Population(space, seed=7, size=10), 5) == first
    assert evolve(Population(space, seed=8, size=10), 5) != first


def test_tournaments_of_all_take_the_best_as_the_only_parent():
    population = Population(
        FlatSpace(20, 3), seed=0, size=20, tournament=10_000, crossover=1, mutation=0.1
    )
    evolve(population, 1)
    best = population.best(1)[0].sample
    changes = [sum(best[label] != child[label] for label in best) for child in population.ask()]
    assert min(changes) >= 1
    assert max(changes) <= 8  # of Binomial(20, 0.1), beyond which is 1e-4
    assert 1.5 <= np.mean(changes) <= 3.5


def test_crossover_alone_gives_only_what_the_parents_have():
    population = Population(FlatSpace(20, 9), seed=0, size=3, crossover=1, mutation=0)
    evolve(population, 1)
    parents = [child.sample for child in population.best(3)]
    for child in population.ask():
        assert all(child[label] in [parent[label] for parent in parents] for label in child)


def test_parents_are_the_best_known_of_all_generations():
    # Scores that only get worse: whatever is asked later, the first generation stays the parents.
    population = Population(FlatSpace(20, 9), seed=0, size=5, crossover=0, mutation=0.1)
    parents = population.ask()
    for generation in range(4):
        population.tell(population.ask(), [generation] * 5)
    for child in population.ask():
        assert min(sum(a[label] != child[label] for label in a) for a in parents) <= 8


# Constraints, and spaces that are not flat


def no_more_than_two(sample):
    return sum(choice == "linear" for choice in sample.values()) <= 2


def test_only_allowed_children_are_asked():
    profiler = NumParamsProfiler(SizedSpace(6), torch.zeros(1, WIDTH))
    filters = [
        no_more_than_two,
        {"profiler": profiler, "max": 40},
        [{"profiler": profiler, "max": 60}, no_more_than_two],
    ]
    wanted = {key(sample) for sample in everything(SizedSpace(6)) if no_more_than_two(sample)}
    for filter in filters:
        asked = evolve(Population(SizedSpace(6), seed=0, size=6, filter=filter), 6)
        assert {key(sample) for generation in asked for sample in generation} == wanted


def test_constraint_of_the_space_holds_also_for_offspring():
    population = Population(ConstrainedSpace(4, 3), seed=0, size=8)
    asked = [sample for generation in evolve(population, 9) for sample in generation]
    assert len({key(sample) for sample in asked}) == len(asked) == 3 * 2 * 3 * 3
    assert all(sample["block_1"] != sample["block_2"] for sample in asked)


def test_children_of_a_conditional_space_differ_where_it_matters():
    population = Population(MixedSpace(), seed=0, size=70)
    asked = [sample for generation in evolve(population, 4) for sample in generation]
    children = Counter(
        key({label: choice for label, choice in sample.items()
             if not label.startswith("op_") or int(label[3:]) <= sample["depth"]})
        for sample in asked
    )  # fmt: skip
    assert max(children.values()) == 1
    assert len(children) == 4 * 70  # of 351
    assert all(MixedSpace().contains(sample) for sample in asked)


def test_choices_of_several_inputs_and_cells_evolve():
    for space, n in ((MixedSpace(n_chosen=2), 15), (CellSpace(), 2**3)):
        population = Population(space, seed=0, size=5)
        asked = [sample for generation in evolve(population, 3) for sample in generation]
        assert len(asked) == n
        assert all(space.contains(sample) for sample in asked)


def test_filter_that_nothing_meets_says_so_at_once():
    def nothing(sample):
        return False

    population = Population(FlatSpace(), seed=0, filter=nothing)
    with pytest.raises(RuntimeError, match=r"no valid sample in 1000 tries .*filter .*nothing"):
        population.ask()


# Start


def test_start_comes_first_and_random_children_fill_up():
    start = [{"block_1": 0, "block_2": 1, "block_3": 2}, {"block_1": 2, "block_2": 2, "block_3": 2}]
    population = Population(FlatSpace(), seed=0, size=6, start=[*start, start[0]])
    first = population.ask()
    assert first[:2] == start
    assert len({key(sample) for sample in first}) == len(first) == 6
    many = everything(FlatSpace())[:9]
    assert Population(FlatSpace(), seed=0, size=6, start=many).ask() == many


def test_start_that_a_tight_filter_allows_is_enough():
    start = {f"block_{n}": 3 for n in range(1, 13)}
    population = Population(
        FlatSpace(12, 9), seed=0, size=5, start=[start], filter=lambda sample: sample == start
    )
    assert population.ask() == [start]
    population.tell([start], [1.0])
    assert population.ask() == []


@pytest.mark.parametrize(
    ("start", "message"),
    [
        ({"block_1": 0, "block_2": 0}, r"start sample .* is not in the space: .*lacks.*block_3"),
        ({"block_1": 0, "block_2": 0, "block_3": 0, "x": 1}, r"not in the space: .*unknown.*'x'"),
        ({"block_1": 0, "block_2": 0, "block_3": 7},
         r"start sample .*7.* not in the space: .*'block_3' is 7; accepted are \[0, 1, 2\]"),
        ({"block_1": 1, "block_2": 1, "block_3": 0}, r"start sample .* is not allowed by .*filter"),
    ],
)  # fmt: skip
def test_start_that_is_not_accepted(start, message):
    with pytest.raises(ValueError, match=message):
        Population(ConstrainedSpace(), seed=0, start=[start])
    if "not allowed" in message:
        with pytest.raises(ValueError, match=message):
            Population(FlatSpace(), seed=0, start=[start], filter=lambda s: s["block_1"] == 0)


# What is told


@pytest.mark.parametrize("mode", ["min", "max"])
def test_best_ranks_as_better_says_and_nan_last(mode, caplog):
    population = Population(FlatSpace(), seed=0, size=6, mode=mode)
    samples = population.ask()
    scores = [2.0, NAN, -math.inf, 2.0, NAN, 1.0]
    with caplog.at_level(logging.WARNING):
        population.tell(samples, scores)
    order = [2, 5, 0, 3, 1, 4] if mode == "min" else [0, 3, 5, 2, 1, 4]
    assert [child.sample for child in population.best(6)] == [samples[i] for i in order]
    assert population.best(2) == population.best()[:2]
    assert {type(child) for child in population.best()} == {ScoredChild}
    assert population.failed == [population.sampler.name(samples[i]) for i in (1, 4)]
    assert "the score of 2 children is not a number" in caplog.text
    assert ", ".join(population.failed) in caplog.text
    assert len(population.ask()) == 6


def test_told_in_another_order_is_the_same():
    a, b = (Population(FlatSpace(), seed=0, size=6) for _ in range(2))
    samples, scores = a.ask(), [3, 1, 1, 2, 0, 1]
    a.tell(samples, scores)
    b.ask()
    b.tell(samples[::-1], scores[::-1])
    assert a.state_dict() == b.state_dict()


def test_tell_takes_only_what_was_asked():
    population = Population(FlatSpace(), seed=0, size=3)
    with pytest.raises(ValueError, match="1 samples are told, but the generation asked has 0"):
        population.tell([{"block_1": 0, "block_2": 0, "block_3": 0}], [1.0])
    samples = population.ask()
    with pytest.raises(ValueError, match="there are 2 scores for 3 samples"):
        population.tell(samples, [1.0, 2.0])
    missing = population.sampler.name(samples[2])
    with pytest.raises(ValueError, match=rf"2 samples are told.*missing \['{missing}'\]"):
        population.tell(samples[:2], [1.0, 2.0])
    other = next(sample for sample in everything(FlatSpace()) if sample not in samples)
    with pytest.raises(ValueError, match=rf"not asked \['{population.sampler.name(other)}'\]"):
        population.tell([*samples[:2], other], [1.0, 2.0, 3.0])
    assert population.generation == 0
    population.tell(samples, [1.0, 2.0, 3.0])
    assert population.generation == 1


# State


@pytest.mark.parametrize("make", [lambda: FlatSpace(6, 3), lambda: supernet(MixedSpace(2))])
def test_resumed_after_any_generation_goes_on_as_if_never_stopped(make):
    def score(sample):
        return NAN if noise(sample) < 0.1 else noise(sample)

    def population(seed=5):
        return Population(make(), seed=seed, size=8)

    whole = population()
    asked = evolve(whole, 6, score)
    for done in range(7):
        first = population()
        evolve(first, done, score)
        first.ask()  # a generation on its way is asked again
        assert {type(pair) for pair in first.state_dict()["scored"]} <= {list}  # plain types
        state = json.loads(json.dumps(first.state_dict()))
        again = population(seed=99)
        again.load_state_dict(state)
        assert again.generation == done
        assert evolve(again, 6 - done, score) == asked[done:]
        assert json.dumps(again.state_dict()) == json.dumps(whole.state_dict())


def test_state_is_a_copy():
    population = Population(FlatSpace(), seed=0, size=4)
    evolve(population, 1)
    state = population.state_dict()
    kept = copy.deepcopy(state)
    evolve(population, 1)
    assert state == kept


def test_state_of_another_space_is_refused():
    population = Population(FlatSpace(3, 4), seed=0)
    evolve(population, 1)
    for space, message in ((FlatSpace(2, 4), "'block_3'"), (FlatSpace(3, 2), "accepted are .0, 1")):
        with pytest.raises(ValueError, match=rf"the state's sample .*not in the space.*{message}"):
            Population(space, seed=0).load_state_dict(population.state_dict())


# Parts and settings


def test_mutation_changes_each_label_with_its_probability():
    candidates = {"one": ["only"], **{label: [0, 1, 2] for label in "abcdefgh"}}
    start = {label: choices[0] for label, choices in candidates.items()}
    rng = np.random.default_rng(0)
    mutants = [mutate(start, candidates, rng, 0.3) for _ in range(4000)]
    changed = Counter(sum(m[label] != start[label] for label in m) for m in mutants)
    expected = binom.pmf(range(9), 8, 0.3) * 4000
    found = [*(changed[n] for n in range(6)), sum(changed[n] for n in range(6, 9))]
    assert chisquare(found, [*expected[:6], expected[6:].sum()]).pvalue > 1e-3
    for label in "abcdefgh":
        counts = Counter(m[label] for m in mutants)
        assert chisquare([counts[c] for c in range(3)], [2800, 600, 600]).pvalue > 1e-3
    assert mutate(start, candidates, rng, 0) == start
    assert mutate(start, {label: ["only"] for label in start}, rng, 1) == start


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mode": "best"}, "mode is 'best'; accepted are 'min', 'max'"),
        ({"size": 0}, "population size is 0; accepted are whole numbers of at least 1"),
        ({"tournament": 1.5}, "tournament is 1.5; accepted are whole numbers"),
        ({"tournament": True}, "tournament is True; accepted are whole numbers"),
        ({"crossover": 1.1}, "crossover is 1.1; accepted are numbers from 0 to 1"),
        ({"mutation": -0.1}, "mutation is -0.1; accepted are numbers from 0 to 1"),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(ValueError, match=message):
        Population(FlatSpace(), seed=0, **settings)
