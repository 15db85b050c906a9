"""PA&DA in training: its norms, and what it is without them."""

import numpy as np
import pytest
import torch
from nni.nas.evaluator.pytorch import DataLoader
from regressions import X, Y, assert_same_weights, regression, run
from spaces import FlatSpace
from torch import nn
from torch.utils.data import IterableDataset, TensorDataset
from training import Watch, make, train

from nni_magic.samplers.weighted import mixed

OFF = {"path_importance": False, "data_importance": False}


class Record(Watch):
    """Remembers rows, children and gradients at the output of every step."""

    def __init__(self):
        super().__init__()
        self.batches, self.norms = [], []

    def on_before_optimizer_step(self, trainer, module, optimizer):
        gradients = [p.grad.flatten() for p in module.parameters() if p.grad is not None]
        self.norms.append(torch.cat(gradients).norm().item())

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        self.batches.append(batch[0].clone())


def test_switched_off_is_spos_bit_for_bit():
    ours, theirs = Watch(), Watch()
    off = run(make("pada", **OFF), ours, max_epochs=3)
    spos = run(make("spos"), theirs, max_epochs=3)
    assert ours.steps == theirs.steps
    assert_same_weights(off, spos, tolerance=0)


def test_norms_of_candidates_and_rows_are_those_of_the_epoch_before():
    strategy, watch = make("pada"), Record()
    run(strategy, watch, max_epochs=2)
    module = strategy.oneshot_module
    for label, norms in module.sampler.norms.items():
        for choice, norm in zip(module.sampler.candidates[label], norms, strict=True):
            own = zip(watch.steps[:4], watch.norms[:4], strict=True)
            held = [norm for (child, _), norm in own if child[label] == choice]
            assert norm == (pytest.approx(np.mean(held), rel=1e-5) if held else None)
    [term] = module.terms
    read = torch.cat(watch.batches[:4])
    known = [bool((read == row).all(1).any()) for row in X]
    assert term.norms.isfinite().tolist() == known
    assert 0 < sum(known) < len(X)
    assert term.drawn == module.sampler.weight == 0.5
    assert term.probabilities == pytest.approx(mixed(term.norms.numpy(), 0.5))


def test_rows_of_a_batch_are_those_whose_norms_it_measures():
    strategy, watch = make("pada", path_importance=False), Record()
    run(strategy, watch, max_epochs=2)
    [term] = strategy.oneshot_module.terms
    order = term._rows.order
    assert torch.equal(torch.cat(watch.batches[4:]), X[order])


def test_epochs_read_other_rows():
    watch = Record()
    run(make("pada"), watch, max_epochs=2)
    assert not torch.equal(torch.cat(watch.batches[:4]), torch.cat(watch.batches[4:]))


def test_accumulated_batches_give_the_norm_of_the_step():
    strategy, watch = make("pada"), Record()
    run(strategy, watch, max_epochs=2, accumulate_grad_batches=2)
    sampler = strategy.oneshot_module.sampler
    known = [norm for norm in sampler.norms["block_1"] if norm is not None]
    assert len(watch.norms) == 4
    assert 1 <= len(known) <= 2
    assert sum(known) <= sum(watch.norms[:2]) * (1 + 1e-6)


class Stream(IterableDataset):
    def __iter__(self):
        return zip(X, Y, strict=True)

    def __len__(self):
        return len(X)


def test_data_without_numbers_are_refused_before_training():
    evaluator = regression(watch := Watch())
    evaluator.train_dataloaders = DataLoader(Stream(), batch_size=4)
    with pytest.raises(ValueError, match="train_dataloaders reads a Stream, whose rows have no"):
        train(make("pada"), FlatSpace(), evaluator)
    assert watch.steps == []
    train(make("pada", data_importance=False), FlatSpace(), evaluator)
    assert watch.steps


def test_output_without_rows_is_refused():
    class Mean(FlatSpace):
        def forward(self, x):
            return super().forward(x).mean(0)

    evaluator = regression(Watch())
    evaluator.train_dataloaders = DataLoader(TensorDataset(X, Y), batch_size=8)
    evaluator.module.training_step = lambda batch: nn.functional.mse_loss(
        evaluator.module.model(batch[0]), batch[1].mean(0)
    )
    with pytest.raises(ValueError, match=r"the model's output is \(4,\) for a batch of 8 rows"):
        train(make("pada"), Mean(), evaluator)


def test_training_without_an_end_is_refused():
    with pytest.raises(ValueError, match="max_epochs of the trainer is -1, and max_steps -1; acc"):
        run(make("pada"), max_epochs=-1)
