"""States that are none of a population are refused, and what is wrong is named."""

import math

import numpy as np
import pytest
from spaces import FlatSpace

from nni_magic.search import Evolution, Population
from nni_magic.search.population_state import checked_state

SAMPLE = {"block_1": 0}
GOOD = {"seed": 0, "generation": 1, "scored": [[SAMPLE, 0.5]]}


@pytest.mark.parametrize("score", [1, 0.5, math.nan, -math.inf, np.float64(2)])
def test_scores_are_numbers_finite_or_not(score):
    [(sample, given)] = checked_state({**GOOD, "scored": [(SAMPLE, score)]})
    assert sample == SAMPLE
    assert given is score


@pytest.mark.parametrize(("state", "message"), [
    (None, "the state is None; accepted are those of a Population"),
    ([], r"the state is \[\]; accepted"),
    ({}, "the state lacks 'seed'"),
    ({"seed": 0, "generation": 1}, "the state lacks 'scored'"),
    ({**GOOD, "mode": "max"}, "a key of the state is 'mode'; accepted are 'seed', 'genera"),
    ({**GOOD, "seed": "0"}, "the state's seed is '0'; accepted are whole numbers"),
    ({**GOOD, "seed": None}, "the state's seed is None; accepted are whole numbers"),
    ({**GOOD, "generation": 1.5}, "the state's generation is 1.5; accepted are whole numbers"),
    ({**GOOD, "generation": -1}, "the state's generation is -1; accepted are whole numbers"),
    ({**GOOD, "scored": None}, "the state's scored has None; accepted are pairs"),
    ({**GOOD, "scored": {"a": 1}}, "the state's scored has {'a': 1}; accepted are pairs"),
    ({**GOOD, "scored": [[SAMPLE, 0.5], SAMPLE]}, "the state's scored has {'block_1': 0}; acc"),
    ({**GOOD, "scored": [[SAMPLE]]}, "the state's scored has .*; accepted are pairs"),
    ({**GOOD, "scored": [[SAMPLE, "0.5"]]}, "the state's scored has .*; accepted are pairs"),
    ({**GOOD, "scored": [[SAMPLE, True]]}, "the state's scored has .*; accepted are pairs"),
    ({**GOOD, "scored": [["block_1", 0.5]]}, "the state's scored has .*; accepted are pairs"),
    ({**GOOD, "scored": []}, "the state's generation is 1, and its scored has 0 children; ac"),
    ({**GOOD, "generation": 0}, "the state's generation is 0, and its scored has 1 children"),
])  # fmt: skip
def test_what_is_wrong_is_named(state, message):
    with pytest.raises(ValueError, match=message):
        checked_state(state)


def test_population_takes_no_part_of_a_bad_state():
    population = Population(FlatSpace(), seed=0, size=4)
    first = population.ask()
    population.tell(first, [1.0, 2.0, 3.0, 4.0])
    good = population.state_dict()
    for scored in ([*good["scored"], good["scored"][0]], [*good["scored"], [{"other": 1}, 0.0]]):
        with pytest.raises(ValueError, match=r"5 children, of which 4 differ|is not in the space"):
            population.load_state_dict({**good, "seed": 7, "scored": scored})
    assert population.state_dict() == good


def test_evolution_refuses_a_bad_state_when_it_is_given():
    with pytest.raises(ValueError, match="the state lacks 'generation'"):
        Evolution(seed=0).load_state_dict({"seed": 0})
