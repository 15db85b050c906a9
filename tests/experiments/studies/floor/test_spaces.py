"""The small spaces can be trained and aligned by the defaults."""

import pytest
from nni.nas.space import BaseModelSpace

from experiments.studies.floor.spaces import SMALL_SPACES


@pytest.mark.parametrize("name", [
    pytest.param(name, marks=[pytest.mark.slow] * (name == "bert")) for name in SMALL_SPACES
])  # fmt: skip
def test_space_has_choices_and_an_evaluator_of_its_own(name):
    small = SMALL_SPACES[name]
    space = small.make_space()
    assert isinstance(space, BaseModelSpace)
    assert len(space.simplify()) > 1
    evaluator = small.make_evaluator(0)
    assert evaluator.module is not small.make_evaluator(0).module
    assert evaluator.trainer.max_epochs == 10
