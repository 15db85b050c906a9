"""How many children random search with early stopping begins with; see also test_searched."""

import pytest

from experiments.studies.ranking.halving import cost, n_children


@pytest.mark.parametrize(("budget", "steps"), [(360, 180), (3000, 2000), (1000, 100), (10, 180)])
def test_as_many_children_begin_as_the_steps_allow(budget, steps):
    n = n_children(budget, steps)
    assert n == 1 or cost(n, steps) <= budget
    assert cost(n + 1, steps) > budget


def test_cost_is_that_of_three_rounds():
    assert cost(5, 100) == 5 * 25 + 2 * 25 + 1 * 50
