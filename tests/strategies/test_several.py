"""Several children a step: in one backward pass, or turn by turn."""

import pytest
from regressions import Headed, assert_same_weights, run
from training import make

METHODS = ["fairnas", "sandwich", "alphanet", "multi_architecture"]


@pytest.mark.parametrize("name", METHODS)
def test_turn_by_turn_learns_the_same(name):
    whole, parts = (run(make(name, turn_by_turn=each), None, Headed) for each in (False, True))
    assert_same_weights(whole, parts)


def test_turn_by_turn_is_off_unless_it_is_asked_for():
    assert not make("fairnas").turn_by_turn
    assert make("fairnas", turn_by_turn=True).turn_by_turn
