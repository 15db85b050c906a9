"""Children that share a batch: a step against the same step by hand."""

import pytest
import torch
from regressions import X, Y, assert_same_weights, fresh, regression, run
from spaces import FlatSpace, set_path
from torch import nn
from torch.utils.data import TensorDataset
from training import Watch, make, train

from nni_magic.samplers import UniformSampler

PARTS = {1: [4], 2: [2, 2], 3: [1, 1, 2], 4: [1, 1, 1, 1]}


@pytest.mark.parametrize("n", PARTS)
def test_step_is_that_of_the_parts_by_hand(n):
    space = run(make("multi_architecture", children=n))
    sampler = UniformSampler(FlatSpace(), seed=3)
    net, optimizer = fresh()
    for start in range(0, 16, 4):
        optimizer.zero_grad()
        for x, y in zip(
            X[start : start + 4].split(PARTS[n]), Y[start : start + 4].split(PARTS[n]), strict=True
        ):
            set_path(net, sampler.next())
            (len(x) / 4 * nn.functional.mse_loss(net(x), y)).backward()
        optimizer.step()
    assert_same_weights(space, net)


def test_one_child_is_spos():
    first, second = Watch(), Watch()
    run(make("multi_architecture", children=1), first)
    run(make("spos"), second)
    assert first.steps == second.steps


def test_last_batch_may_have_fewer_rows_than_children():
    class Rows(Watch):
        def on_train_batch_end(self, trainer, module, *args):
            self.steps.append(len(module.step.losses))

    evaluator = regression(watch := Rows())
    evaluator.train_dataloaders = torch.utils.data.DataLoader(
        TensorDataset(X[:10], Y[:10]), batch_size=4
    )
    train(make("multi_architecture", children=3), FlatSpace(), evaluator)
    assert watch.steps == [3, 3, 2]


def test_first_batch_with_an_empty_part_is_refused():
    watch = Watch()
    message = "^the first batch has 4 rows, which 5 children are to share; accepted are batches of"
    with pytest.raises(ValueError, match=message):
        run(make("multi_architecture", children=5), watch)
    assert watch.steps == []
