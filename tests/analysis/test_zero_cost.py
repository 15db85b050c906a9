"""Zero-cost scores: against naive formulas, and that they leave no trace."""

import copy
import math

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from regressions import Regression, X, Y
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from training import QUIET

from nni_magic.analysis.zero_cost import ZERO_COST, ZeroCost, linear_regions, synflow
from nni_magic.supernet.hidden_states import Call


class Net(nn.Module):
    """Linear layers with BatchNorm and dropout, ``(batch, 4)`` to the same."""

    def __init__(self):
        super().__init__()
        self.first, self.norm = nn.Linear(4, 6), nn.BatchNorm1d(6)
        self.dropout, self.last = nn.Dropout(0.5), nn.Linear(6, 4)

    def forward(self, x):
        return self.last(self.dropout(self.norm(self.first(x)).relu()))


def trained(*callbacks, module=None, seed=0):
    torch.manual_seed(seed)
    module = module or Regression()
    module.set_model(Net())
    before = copy.deepcopy(module.model)
    trainer = pl.Trainer(max_epochs=1, callbacks=list(callbacks), **QUIET)
    trainer.fit(module, DataLoader(TensorDataset(X, Y), batch_size=8, shuffle=True))
    return before, module.model


def test_scores_are_those_of_the_formulas_on_the_first_batch():
    batches = []

    class Keep(pl.Callback):
        def on_train_batch_start(self, trainer, module, batch, index):
            batches.append(batch)

    net, _ = trained(scorer := ZeroCost(), Keep())
    net.dropout.p = 0.0
    x, y = batches[0]
    nn.functional.mse_loss(net.train()(x), y).backward()
    snip = sum((p * p.grad).abs().sum() for p in net.parameters())
    norms = sum(p.grad.norm() for p in net.parameters())
    assert tuple(scorer.scores) == ZERO_COST[:3]  # there is no module that is a ReLU
    assert scorer.scores["snip"] == pytest.approx(snip.item(), rel=1e-5)
    assert scorer.scores["grad_norm"] == pytest.approx(norms.item(), rel=1e-5)


def test_synflow_is_the_flow_of_ones_through_absolute_weights():
    net = nn.Sequential(nn.Linear(3, 5, bias=False), nn.ReLU(), nn.Linear(5, 2, bias=False))
    first, last = net[0].weight.abs(), net[2].weight.abs()
    # Of a product of layers every layer's weights have the whole flow.
    flow = (last @ (first @ torch.ones(3))).sum()
    found = synflow(net, Call((torch.randn(4, 3),), {}))
    assert found == pytest.approx(2 * flow.item(), rel=1e-5)


def test_synflow_keeps_token_ids_weights_and_modes():
    net = nn.Sequential(nn.Embedding(9, 3), nn.Dropout(0.9), nn.Linear(3, 2, bias=False))
    net[1].eval()
    before = copy.deepcopy(net.state_dict())
    found = synflow(net, Call((torch.tensor([[2, 5], [1, 1]]),), {}))
    rows = net[0].weight.abs()[torch.tensor([2, 5])]
    assert found == pytest.approx(2 * (rows @ net[2].weight.abs().T).sum().item(), rel=1e-5)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert [module.training for module in net] == [True, False, True]
    assert all(parameter.grad is None for parameter in net.parameters())


def test_linear_regions_are_told_apart_by_what_relus_are_on():
    class Rectified(Net):
        def __init__(self):
            super().__init__()
            self.on, self.dropout = nn.ReLU6(inplace=True), nn.Identity()

        def forward(self, x):
            return self.last(self.on(self.norm(self.first(x))))

    x, y = X[:4], Y[:4]
    net = Rectified()
    module = Regression()
    module.set_model(net)
    scorer = ZeroCost()
    trainer = pl.Trainer(max_epochs=1, callbacks=[scorer], **QUIET)
    first = net.first(x)
    normed = (first - first.mean(0)) / (first.var(0, unbiased=False) + net.norm.eps).sqrt()
    codes = (normed > 0).tolist()
    agree = [[sum(a == b for a, b in zip(one, other, strict=True)) for other in codes]
             for one in codes]  # fmt: skip
    trainer.fit(module, DataLoader(TensorDataset(x, y), batch_size=4))
    expected = math.log(np.linalg.det(np.array(agree, dtype=float)))
    assert scorer.scores["linear_regions"] == pytest.approx(expected, rel=1e-9)
    assert not net.on._forward_hooks


def test_rows_of_one_region_or_of_different_numbers_have_no_score():
    codes = torch.rand(3, 9, generator=torch.Generator().manual_seed(0)) > 0.5
    assert linear_regions([codes]) is not None
    assert linear_regions([codes[[0, 1, 1]]]) is None
    assert linear_regions([codes, codes[:2]]) is None
    assert linear_regions([]) is None


def test_training_is_the_same_with_the_scores_and_without():
    for a, b in zip(
        trained(ZeroCost())[1].state_dict().values(), trained()[1].state_dict().values(),
        strict=True,
    ):  # fmt: skip
        assert torch.equal(a, b)


def test_batch_that_is_skipped_is_refused():
    class Skipping(Regression):
        def training_step(self, batch, batch_idx):
            return None

    with pytest.raises(ValueError, match="the training step skips the first batch; accepted is on"):
        trained(ZeroCost(), module=Skipping())
