"""How many children random search with early stopping begins with; see also test_searched."""

from types import SimpleNamespace

import pytest
from spaces import ConvSpace

from experiments.studies.ranking import halving
from experiments.studies.ranking.halving import cost, n_children, successive_halving


@pytest.mark.parametrize(("budget", "steps"), [(360, 180), (3000, 2000), (1000, 100), (10, 180)])
def test_as_many_children_begin_as_the_steps_allow(budget, steps):
    n = n_children(budget, steps)
    assert n == 1 or cost(n, steps) <= budget
    assert cost(n + 1, steps) > budget


def test_cost_is_that_of_three_rounds():
    assert cost(5, 100) == 5 * 25 + 2 * 25 + 1 * 50


def test_child_that_has_diverged_does_not_go_on(monkeypatch):
    losses = {0: [2.0, 3.0, 9.0], 1: [float("nan")], 2: [1.0, 4.0], 3: [2.5]}  # round by round
    rounds, drawn = [], []

    def train(study, sample, seed, stop, path):
        rounds.append((stop, int(path.stem)))
        drawn.append(sample)
        return int(path.stem)

    monkeypatch.setattr(halving, "_train", train)
    monkeypatch.setattr(halving, "_score", lambda study, number: losses[number].pop(0))
    study = SimpleNamespace(
        domain=SimpleNamespace(make_space=lambda: ConvSpace(4)),
        plan=SimpleNamespace(children=SimpleNamespace(steps=180)),
    )
    found = successive_halving(study, 360, 0)
    assert rounds == [(45, 0), (45, 1), (45, 2), (45, 3), (90, 2), (90, 0), (180, 0)]
    assert found["found"] == drawn[0]
