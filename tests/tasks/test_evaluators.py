"""What the evaluators share: groups of parameters, and who reports."""

import nni
import pytest
import torch
from nni.nas.evaluator.pytorch import Trainer
from torch import nn
from training import QUIET

from nni_magic.tasks.evaluators import ReportingModule, parameter_groups


class Constant(ReportingModule):
    """Logs nothing; its result is known."""

    def __init__(self):
        super().__init__()
        self.set_model(nn.Linear(1, 1))

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", batch.sum())

    def result(self):
        return 0.75


def test_validation_alone_is_reported_and_a_test_is_not(monkeypatch):
    reports = []
    monkeypatch.setattr(nni, "report_final_result", reports.append)
    monkeypatch.setattr(nni, "get_current_parameter", lambda: {})
    trainer = Trainer(**QUIET)
    loader = torch.utils.data.DataLoader(torch.ones(2, 1))
    [tested] = trainer.test(Constant(), loader, verbose=False)
    assert (tested["val_loss"], reports) == (1, [])
    trainer.validate(Constant(), loader, verbose=False)
    assert reports == [0.75]


def test_only_what_has_two_dimensions_decays():
    module = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2))
    module[2].weight.requires_grad_(False)
    decayed, others = parameter_groups(module.parameters(), 0.3)
    assert decayed == {"params": [module[0].weight], "weight_decay": 0.3}
    expected = [module[0].bias, module[1].weight, module[1].bias, module[2].bias]
    assert others["weight_decay"] == 0
    assert all(a is b for a, b in zip(others["params"], expected, strict=True))
    assert len(parameter_groups(module[1].parameters(), 0.3)) == 1
    with pytest.raises(ValueError, match="empty parameter list"):
        torch.optim.SGD(parameter_groups([], 0.3), lr=0.1)
