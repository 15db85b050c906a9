"""Gradient norms of rows: against autograd row by row, and frequencies of the draws."""

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from nni_magic.losses.row_norms import RowNorms
from nni_magic.supernet.hidden_states import Call
from nni_magic.supernet.step import Step, Turn

N = 10
X = torch.randn(N, 3, generator=torch.Generator().manual_seed(0))
Y = torch.arange(N) % 3


def trainer_at(epoch, total=100, batches=3, scaler=None):
    strategy = SimpleNamespace(all_gather=lambda tensor: tensor, root_device="cpu")
    return SimpleNamespace(
        current_epoch=epoch, global_step=epoch * batches, estimated_stepping_batches=total,
        strategy=strategy, precision_plugin=SimpleNamespace(scaler=scaler),
    )  # fmt: skip


def started(seed=0):
    term = RowNorms()
    loader = term.loader(DataLoader(TensorDataset(X, Y), batch_size=4))
    module = SimpleNamespace(trainer=trainer_at(0), seed=seed, resumes=False)
    term.begin(module)
    return term, loader, module


def train(term, loader, scale=1.0):
    """An epoch of cross-entropy on the rows themselves; gives the rows read."""
    for index, (x, y) in enumerate(loader):
        term.before_step((x, y), index)
        logits = x.clone().requires_grad_()
        step = Step([Turn({})], calls=[[Call((x,), {}, output={"logits": logits})]])
        assert term(step, step.turns[0]) is None
        (scale * nn.functional.cross_entropy(logits, y)).backward()
        term.tell(step)
    return term._rows.order.tolist()


def by_hand(row):
    """The gradient norm of a row's own loss."""
    logits = X[row].clone().requires_grad_()
    nn.functional.cross_entropy(logits, Y[row]).backward()
    return logits.grad.norm().item()


def test_norms_and_probabilities_are_those_of_a_brute_force_count():
    term, loader, module = started()
    seen = set(train(term, loader))
    assert 1 < len(seen) < N  # drawn with replacement
    module.trainer = trainer_at(1, total=10)
    train(term, loader)
    assert term.drawn == 0.3
    norms = [by_hand(row) for row in range(N)]
    mean = np.mean([norms[row] for row in seen])
    own = np.array([norms[row] if row in seen else mean for row in range(N)])
    assert term.probabilities == pytest.approx(0.3 * own / own.sum() + 0.7 / N, rel=1e-5)


def test_rows_are_drawn_with_their_probabilities():
    term, loader, module = started()
    counts, expected = Counter(), np.zeros(N)
    for epoch in range(300):
        module.trainer = trainer_at(epoch, total=900)
        counts.update(train(term, loader))
        expected += N * term.probabilities
    assert chisquare([counts[row] for row in range(N)], expected).pvalue > 1e-3
    assert chisquare([counts[row] for row in range(N)]).pvalue < 1e-3  # not uniform


def test_norms_of_a_scaled_loss_are_those_of_the_loss():
    plain, scaled = started(), started()
    train(*plain[:2])
    scaled[2].trainer = trainer_at(0, scaler=SimpleNamespace(get_scale=lambda: 1024.0))
    train(*scaled[:2], scale=1024.0)
    torch.testing.assert_close(scaled[0].state_dict(), plain[0].state_dict(), equal_nan=True)


def test_batch_that_is_skipped_or_not_finite_does_not_count():
    term, loader, _ = started()
    next(iter(loader))
    term.before_step(None, 0)
    term.tell(Step([]))
    logits = torch.zeros(4, 3, requires_grad=True)
    step = Step([Turn({})], calls=[[Call((), {}, output=logits)]])
    term(step, step.turns[0])
    logits.backward(torch.full((4, 3), torch.inf))
    term.tell(step)
    assert term.state_dict()["counts"].sum() == 0


def test_goes_on_from_its_state():
    term, loader, module = started()
    train(term, loader)
    module.trainer = trainer_at(1)
    train(term, loader)
    again, other, resumed = started()
    again.load_state_dict(term.state_dict())
    resumed.trainer, resumed.resumes = trainer_at(1), True
    again.begin(resumed)
    list(other)
    assert again._rows.order.tolist() == term._rows.order.tolist()
    module.trainer = resumed.trainer = trainer_at(2)
    assert train(again, other) == train(term, loader)
    assert train(*started(seed=1)[:2]) != train(*started()[:2])


def test_state_of_other_data_is_refused():
    term, loader, _ = started()
    train(term, loader)
    other = RowNorms()
    other.load_state_dict(term.state_dict())
    smaller = other.loader(DataLoader(TensorDataset(X[:5]), batch_size=4))
    other.begin(SimpleNamespace(trainer=trainer_at(0), seed=0, resumes=True))
    with pytest.raises(ValueError, match="train_dataloaders has 5 rows; accepted are 10, as in"):
        next(iter(smaller))


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ([], "the training step calls the model 0 times; accepted is once, as rows are drawn by"),
        ([torch.zeros(4, 3)] * 2, "the training step calls the model 2 times; accepted is once"),
        ([torch.zeros(3, 3)], r"the model's output is \(3, 3\) for a batch of 4 rows; accepted"),
        (["words"], "the model's output is a str; accepted are logits, or what holds them as"),
    ],
)
def test_outputs_without_a_row_for_each_are_refused(outputs, message):
    term, loader, _ = started()
    next(iter(loader))
    term.before_step(None, 0)
    step = Step([Turn({})], calls=[[Call((), {}, output=output) for output in outputs]])
    with pytest.raises(ValueError, match=message):
        term(step, step.turns[0])
