"""Whose a hook is, and which callbacks are warned of because they have no part in scores."""

import functools
import warnings

import pytest
import pytorch_lightning as pl
import torch
from nni.nas.evaluator.pytorch import Lightning, Trainer
from pytorch_lightning.callbacks import (
    EarlyStopping,
    EMAWeightAveraging,
    LambdaCallback,
    ModelCheckpoint,
)
from scored import CHILD, Evaluator, loader, trained
from training import QUIET

from nni_magic.manager.trial import ReportValidation
from nni_magic.scoring.user_hooks import is_users, warn_of_callbacks
from nni_magic.search import ChildEvaluator

torch.set_num_threads(1)


class Halving(pl.Callback):
    """Swaps the weights for others while a validation goes on."""

    def on_validation_start(self, trainer, module):
        with torch.no_grad():
            torch._foreach_mul_(list(module.parameters()), 0.5)

    def on_validation_end(self, trainer, module):
        with torch.no_grad():
            torch._foreach_mul_(list(module.parameters()), 2.0)


class Stopping(EarlyStopping):
    """A user's, whose hooks of a validation are Lightning's."""

    def on_train_start(self, trainer, module):
        pass


class Bare:
    """A callable that does not say where it is from."""

    @property
    def __module__(self):
        raise AttributeError

    def __call__(self):
        pass


def nothing(*args):
    pass


def test_hooks_of_users_are_told_from_those_of_libraries():
    evaluator = Evaluator()
    assert not is_users(evaluator.on_validation_start)  # Lightning's own
    for hook in (nothing, functools.partial(nothing), functools.partial(print), Bare()):
        assert is_users(hook)


@pytest.mark.parametrize(
    "callback",
    [Halving(), LambdaCallback(on_validation_epoch_end=nothing), EMAWeightAveraging()],
    ids=lambda callback: type(callback).__name__,
)
def test_callbacks_with_hooks_of_a_validation_are_warned_of(callback):
    name = type(callback).__name__
    with pytest.warns(UserWarning, match=f"callbacks {name} do not act on the scores of children"):
        warn_of_callbacks([callback, callback])


def test_callbacks_that_only_watch_are_not_warned_of():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_callbacks(
            [ModelCheckpoint(), Stopping("val_loss"), pl.Callback(), LambdaCallback(),
             ReportValidation("val_loss")]
        )  # fmt: skip


def test_a_fit_and_an_evaluation_warn_once_each():
    with pytest.warns(UserWarning, match="callbacks Halving do not act on") as told:
        module = trained(trainer={"callbacks": [Halving()], "max_epochs": 2})
        module.scorer(CHILD)
    assert len([one for one in told if "do not act on" in str(one.message)]) == 1

    class Configuring(Evaluator):
        def configure_callbacks(self):
            return Halving()

    lightning = Lightning(Configuring(), Trainer(**QUIET), val_dataloaders=loader())
    with pytest.warns(UserWarning, match="callbacks Halving do not act on") as told:
        evaluate = ChildEvaluator(module.model, lightning, calibration_batches=0)
        evaluate([CHILD])
    assert len([one for one in told if "do not act on" in str(one.message)]) == 1
