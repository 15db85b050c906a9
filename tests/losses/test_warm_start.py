"""How long the warm start is."""

from types import SimpleNamespace

import pytest

from nni_magic.losses.warm_start import WarmStart, share_of


def trainer(epochs, current=0, steps=-1, fast=False):
    return SimpleNamespace(
        max_epochs=epochs, current_epoch=current, max_steps=steps, num_training_batches=10,
        accumulate_grad_batches=1, fast_dev_run=fast,
    )  # fmt: skip


@pytest.mark.parametrize(("epochs", "warm"), [
    (1, 0), (2, 1), (3, 1), (5, 2), (6, 3), (10, 5), (150, 75), (-1, 3),
])  # fmt: skip
def test_warm_start_is_half_of_the_training_or_three_epochs_without_an_end(epochs, warm):
    assert WarmStart(None).begin(trainer(epochs)) == warm


def test_steps_that_end_the_training_count_as_epochs():
    assert WarmStart(None).begin(trainer(-1, steps=35)) == 2
    assert share_of(4) == 2


def test_given_epochs_are_taken():
    assert WarmStart(2).begin(trainer(3)) == 2
    with pytest.raises(ValueError, match="warmup_epochs is 3; accepted are less than 3, the epo"):
        WarmStart(3).begin(trainer(3))
    assert WarmStart(3).begin(trainer(1, fast=True)) == 3


def test_run_that_goes_on_for_longer_keeps_its_warm_start():
    warm = WarmStart(None)
    assert warm.begin(trainer(3)) == 1
    assert warm.begin(trainer(30, current=2)) == 1
