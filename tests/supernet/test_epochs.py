"""How long a trainer goes on, by epochs or by steps."""

import math
from types import SimpleNamespace

import pytest

from nni_magic.supernet.epochs import epochs_in_all, epochs_left, log_is_due, progress_of


@pytest.mark.parametrize(("settings", "left"), [
    ({"max_epochs": 5}, 5),
    ({"max_epochs": 5, "current_epoch": 2}, 3),
    ({"max_steps": 11}, 3),  # the third epoch is cut short
    ({"max_steps": 11, "accumulate_grad_batches": 2}, 4),  # of three steps each
    ({"max_epochs": 2, "max_steps": 11}, 2),
    ({"max_epochs": -1}, math.inf),
    ({"max_steps": 11, "num_training_batches": math.inf}, math.inf),
])  # fmt: skip
def test_epochs_left(settings, left):
    trainer = {
        "max_epochs": None, "max_steps": -1, "num_training_batches": 5,
        "accumulate_grad_batches": 1, "current_epoch": 0,
    }  # fmt: skip
    trainer = SimpleNamespace(**{**trainer, **settings})
    assert epochs_left(trainer) == left
    assert epochs_in_all(trainer) == left + trainer.current_epoch


def test_progress_is_the_share_of_steps_that_are_made():
    trainer = SimpleNamespace(estimated_stepping_batches=8, global_step=2)
    assert progress_of(trainer) == 0.25
    trainer.global_step = 9
    assert progress_of(trainer) == 1.0


@pytest.mark.parametrize("total", [float("inf"), -1])
def test_training_without_an_end_has_no_progress(total):
    trainer = SimpleNamespace(estimated_stepping_batches=total, max_epochs=-1, max_steps=-1)
    message = "max_epochs of the trainer is -1, and max_steps -1; accepted is an end"
    with pytest.raises(ValueError, match=message):
        progress_of(trainer)


@pytest.mark.parametrize(
    ("every", "step", "is_last", "due"),
    [(10, 9, False, True), (10, 8, False, False), (10, 8, True, True), (0, 9, False, False)],
)
def test_log_is_due_where_it_is_written_and_at_the_end_of_an_epoch(every, step, is_last, due):
    trainer = SimpleNamespace(log_every_n_steps=every, global_step=step, is_last_batch=is_last)
    assert log_is_due(trainer) is due
