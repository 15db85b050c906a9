"""What the programs' settings are made of."""

import pytest

from nni_magic.programs.concerns import (
    PipelineRetraining,
    Retraining,
    Search,
    Shrinking,
    Supernet,
)
from nni_magic.strategies.settings import MagicATSettings
from nni_magic.tasks.settings import TaskSettings


def test_settings_of_the_strategy_are_what_is_given_and_the_tasks():
    supernet = Supernet(strategy="magic_at", given={"k": 2, "percentile": 10, "anchor_interval": 9})
    task = TaskSettings(seed=5, validation_batches=2, calibration_batches=0)
    assert supernet.settings_for(task) == MagicATSettings(
        k=2, anchor_interval=9, metric="val_loss", mode="min", seed=5,
        validation_batches=2, calibration_batches=0,
    )
    assert supernet.ignored == ["percentile"]


def test_strategy_must_be_known_and_given():
    with pytest.raises(ValueError, match="strategy is 'cream'; accepted are 'spos', 'magic_t'"):
        Supernet(strategy="cream")
    with pytest.raises(ValueError, match="strategy is None; accepted are 'spos', 'magic_t'"):
        Supernet().settings_for(TaskSettings())


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        (Search, {"search_by": "luck"}, "search_by is 'luck'; accepted are 'evolution', 'boos"),
        (Search, {"population": 3, "search_children": 2}, "population is 3; accepted are 1 to sea"),
        (Search, {"search_children": 0}, "search_children is 0; accepted are whole numbers of at"),
        (Shrinking, {"n_drop": -1}, "n_drop is -1; accepted are whole numbers of at least 0"),
        (Shrinking, {"evaluations": 0}, "evaluations is 0; accepted are whole numbers from 1 to 1"),
        (Retraining, {"retrain_epochs": -1}, "retrain_epochs is -1; accepted are whole numbers of"),
        (Retraining, {"retrain_learning_rate": 0.0}, "retrain_learning_rate is 0.0; accepted are"),
        (PipelineRetraining, {"retrain_epochs": 0}, "retrain_epochs is 0; accepted are whole num"),
    ],
)
def test_wrong_setting_is_named(kind, given, message):
    with pytest.raises(ValueError, match=message):
        kind(**given)
