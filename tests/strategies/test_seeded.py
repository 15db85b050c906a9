"""What all strategies have in common, children or mixture."""

import pytest
from spaces import ConvSpace
from training import Watch, classification, train

from nni_magic.strategies import GAEA, SPOS

both = pytest.mark.parametrize("strategy", [SPOS, GAEA])


@both
def test_drawn_seed_is_logged(strategy, caplog):
    drawn = strategy()
    assert f"No seed is given; drew {drawn.seed}" in caplog.text
    assert strategy().seed != drawn.seed


@both
def test_unknown_setting_is_named(strategy):
    with pytest.raises(TypeError, match=f"^{strategy.__name__} has no setting 'lr'; accepted are"):
        strategy(lr=0.1)


@both
@pytest.mark.parametrize("name", ["max_epochs", "limit_train_batches"])
def test_evaluator_that_does_not_train_is_refused(strategy, name):
    evaluator = classification(Watch(), **{"epochs": 1, name: 0} if name != "max_epochs" else
                               {"epochs": 0})  # fmt: skip
    with pytest.raises(ValueError, match=f"{name} of the evaluator's trainer is 0; accepted are"):
        train(strategy(seed=1), ConvSpace(), evaluator)
