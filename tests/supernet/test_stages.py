"""What trainer and evaluator say while a block runs, and afterwards."""

import pytest
import torch
from nni.nas.evaluator.pytorch import Lightning, LightningModule, Trainer
from spaces import ConvSpace, supernet
from torch import nn
from training import QUIET

from nni_magic.supernet.connection import connect
from nni_magic.supernet.evaluator_hooks import EvaluatorHooks
from nni_magic.supernet.stages import in_training, in_validation, modes_kept


class Modes(LightningModule):
    """Keeps a part in training mode in validation."""

    def __init__(self):
        super().__init__()
        self.noise, self.frozen = nn.Dropout(), nn.Dropout().eval()
        self.validates = False

    def on_validation_model_eval(self):
        self.validates = True
        super().on_validation_model_eval()
        self.noise.train()


def attached():
    torch.manual_seed(0)
    evaluator = Lightning(Modes(), Trainer(**QUIET))
    module = EvaluatorHooks(evaluator.module)
    connect(module, supernet(ConvSpace()), evaluator)
    return module, evaluator.module, evaluator.trainer


def told(module, trainer):
    modes = [part.training for part in module.modules()]
    return trainer.state.fn, trainer.state.stage, modes, module.training_module.validates


def test_trainer_validates_and_the_evaluator_has_its_own_modes():
    module, evaluator, trainer = attached()
    before = told(module, trainer)
    with pytest.raises(ArithmeticError), in_validation(module):
        assert trainer.validating and not trainer.training and trainer.state.fn == "validate"
        assert evaluator.validates and evaluator.noise.training
        assert not evaluator.training and not evaluator.model.training
        raise ArithmeticError
    assert told(module, trainer) == before


def test_trainer_trains_within_a_validation_with_dropout_off():
    module, evaluator, trainer = attached()
    with in_validation(module):
        before = told(module, trainer)
        with in_training(module):
            assert trainer.training and not trainer.validating and trainer.state.fn == "fit"
            assert evaluator.training and not evaluator.noise.training
        assert told(module, trainer) == before


def test_parts_in_evaluation_mode_stay_so_in_training():
    module, evaluator, _ = attached()
    with modes_kept(module), in_training(module):
        assert evaluator.training and not evaluator.frozen.training
