"""Several children a step, against the same step written by hand."""

import pytest
import torch
from regressions import Regression, X, Y, assert_same_weights, regression, run
from spaces import ConvSpace, FlatSpace, set_path
from torch import nn
from training import Watch, bert, classification, dict_evaluator, make, train
from twins import Agreement, Twins, TwinSampler

from nni_magic.samplers import UniformSampler
from nni_magic.supernet.step import Turn


def by_hand(accumulate=1):
    """The twins' steps in plain torch."""
    torch.manual_seed(5)
    net = make("twins").mutate_model(FlatSpace())
    sampler = UniformSampler(FlatSpace(), seed=3)
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    losses = []
    for start in range(0, 16, 4):
        x, y = X[start : start + 4], Y[start : start + 4]
        if start // 4 % accumulate == 0:
            children = sampler.next(), sampler.next()
            optimizer.zero_grad()
        outputs = []
        for child in children:
            set_path(net, child)
            outputs.append(net(x))
        first, second = outputs
        loss = nn.functional.mse_loss(first, y) + 0.5 * nn.functional.mse_loss(second, y)
        loss = loss + 0.3 * nn.functional.mse_loss(second, first.detach())
        (loss / accumulate).backward()
        losses.append(loss.item() / accumulate)  # as Lightning hands it to callbacks
        if start // 4 % accumulate == accumulate - 1:
            optimizer.step()
    return net, losses


@pytest.mark.parametrize("name", ["twins", "twins_by_turn"])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_step_is_that_by_hand(name, accumulate):
    watch = Watch()
    space = run(make(name), watch, accumulate_grad_batches=accumulate)
    net, losses = by_hand(accumulate)
    assert_same_weights(space, net)
    if name == "twins":
        assert [loss for _, loss in watch.steps] == pytest.approx(losses, rel=1e-5)


@pytest.mark.parametrize(
    ("space", "evaluator"), [(ConvSpace, classification), (bert, dict_evaluator)]
)
@pytest.mark.parametrize("more", [{}, {"accumulate_grad_batches": 2}, {"precision": "bf16-mixed"}])
def test_turn_by_turn_learns_the_same(space, evaluator, more):
    nets, losses = [], []
    for name in ("twins", "twins_by_turn"):
        torch.manual_seed(11)
        nets.append(space())
        run = evaluator(Watch(), epochs=1, **more)
        train(make(name), nets[-1], run)
        losses.append(run.trainer.callback_metrics["supernet/prediction_loss"].item())
    tolerance = 2e-2 if "precision" in more else 1e-4
    assert_same_weights(*nets, tolerance=tolerance)
    assert losses[0] == pytest.approx(losses[1], rel=tolerance)


def test_turns_of_a_step_see_the_same_random_numbers():
    seen = []

    class Noting(Watch):
        def on_train_start(self, trainer, module):
            step = module.training_module.training_step

            def noted(batch, batch_idx):
                loss = step(batch, batch_idx)
                seen.append(module.training_module.seen)
                return loss

            module.training_module.training_step = noted

    run(make("twins"), Noting(), noise=1.0)
    assert len(seen) == 8
    for first, second in zip(seen[::2], seen[1::2], strict=True):
        assert torch.equal(first, second)
    assert not torch.equal(seen[0] - X[:4], seen[2] - X[4:8])


def test_generators_go_on_as_after_one_turn():
    """What comes after a step does not depend on how many turns it had."""
    states = []
    for name in ("spos", "twins", "twins_by_turn"):
        run(make(name), noise=1.0)
        states.append(torch.get_rng_state())
    assert torch.equal(states[0], states[1])
    assert torch.equal(states[0], states[2])


class Parts(Twins):
    """Each child is trained on half of the batch."""

    def make_sampler(self, space):
        class Halves(TwinSampler):
            def turns(self, probe):
                return [Turn(self.next(), 0.5, slice(0, 2)), Turn(self.next(), 0.5, slice(2, None))]

        return Halves(space, seed=self.seed)

    def make_terms(self):
        return []


def test_rows_are_those_of_the_turn():
    watch = Watch()
    space = run(Parts(seed=3, validation_batches=1), watch)
    torch.manual_seed(5)
    net = make("twins").mutate_model(FlatSpace())
    sampler, optimizer = UniformSampler(FlatSpace(), seed=3), torch.optim.SGD(net.parameters(), 0.1)
    for start in range(0, 16, 4):
        optimizer.zero_grad()
        for rows in (slice(start, start + 2), slice(start + 2, start + 4)):
            set_path(net, sampler.next())
            (0.5 * nn.functional.mse_loss(net(X[rows]), Y[rows])).backward()
        optimizer.step()
    assert_same_weights(space, net)


def test_turn_without_weight_trains_by_its_terms_alone():
    class Student(Twins):
        def make_sampler(self, space):
            class Second(TwinSampler):
                def turns(self, probe):
                    return [Turn(self.next(), 0.0), Turn(self.next(), 0.0)]

            return Second(space, seed=self.seed)

    watch = Watch()
    run(Student(seed=3, validation_batches=1), watch)
    torch.manual_seed(5)
    net = make("twins").mutate_model(FlatSpace())
    sampler, outputs = UniformSampler(FlatSpace(), seed=3), []
    for _ in range(2):
        set_path(net, sampler.next())
        outputs.append(net(X[:4]))
    expected = 0.3 * nn.functional.mse_loss(outputs[1], outputs[0])
    assert watch.steps[0][1] == pytest.approx(expected.item(), rel=1e-5)


def test_skipped_batch_skips_all_its_turns():
    class Skipping(Regression):
        def training_step(self, batch, batch_idx):
            return None if batch_idx == 1 else super().training_step(batch, batch_idx)

    class Count(Watch):
        def on_train_batch_end(self, trainer, module, *args):
            self.steps.append(len(module.step.losses))

    evaluator = regression(count := Count())
    evaluator.module = Skipping()
    train(make("twins"), FlatSpace(), evaluator)
    assert count.steps == [2, 0, 2, 2]


def test_turn_by_turn_under_ddp_is_refused_at_the_start():
    strategy = make("twins_by_turn")
    evaluator = regression(Watch(), strategy="ddp_find_unused_parameters_true", devices=1)
    with pytest.raises(ValueError, match="turn_by_turn is True, but the trainer's strategy is DDP"):
        train(strategy, FlatSpace(), evaluator)
    torch.distributed.destroy_process_group()  # Lightning leaves it


@pytest.mark.parametrize("name", ["twins", "twins_by_turn"])
@pytest.mark.parametrize("weights", [(0.0, 1.0), (0.0, 0.0, 1.0), (1.0, 0.0), (0.5, 0.0, 0.5)])
def test_turns_without_a_loss_of_their_own_change_nothing_of_the_others(name, weights):
    """A teacher that only runs, before its students or behind them."""

    class Weighted(type(make(name))):
        def make_sampler(self, space):
            class Given(TwinSampler):
                def turns(self, probe):
                    return [Turn(self.next(), weight) for weight in weights]

            return Given(space, seed=self.seed)

        def make_terms(self):
            return []

    space = run(Weighted(seed=3, validation_batches=1))
    torch.manual_seed(5)
    net = make("twins").mutate_model(FlatSpace())
    sampler, optimizer = UniformSampler(FlatSpace(), seed=3), torch.optim.SGD(net.parameters(), 0.1)
    for start in range(0, 16, 4):
        optimizer.zero_grad()
        for weight in weights:
            set_path(net, sampler.next())
            if weight:
                x, y = X[start : start + 4], Y[start : start + 4]
                (weight * nn.functional.mse_loss(net(x), y)).backward()
        optimizer.step()
    assert_same_weights(space, net)


@pytest.mark.parametrize("name", ["twins", "twins_by_turn"])
def test_every_turn_has_a_batch_of_its_own(name):
    class Writing(Regression):
        def training_step(self, batch, batch_idx):
            loss = super().training_step(list(batch), batch_idx)
            batch[0].zero_()
            batch.clear()
            return loss

    evaluator = regression(Watch())
    evaluator.module = Writing()
    torch.manual_seed(5)
    space = FlatSpace()
    train(make(name), space, evaluator)
    assert_same_weights(space, by_hand()[0])


def test_no_turn_is_refused():
    class Idle(Twins):
        def make_sampler(self, space):
            class Nobody(TwinSampler):
                def turns(self, probe):
                    return []

            return Nobody(space, seed=self.seed)

    with pytest.raises(ValueError, match=r"turns of Nobody is \[\]; accepted is at least one"):
        run(Idle(seed=3))


def test_terms_of_one_name_are_refused():
    class Twice(Twins):
        def make_terms(self):
            return [*super().make_terms(), *super().make_terms()]

    with pytest.raises(ValueError, match=r"names of terms are .*'agreement'\]; accepted"):
        run(Twice(seed=3))


def test_layers_of_one_name_are_refused():
    class Watching(Agreement):
        def begin(self, module):
            self.blocks = module.model.blocks

        @property
        def layers(self):
            return {"block": self.blocks[self.n]}

    class Other(Watching):
        name, n = "other", 1

    class Two(Twins):
        def make_terms(self):
            first = Watching()
            first.n = 0
            return [first, Other()]

    with pytest.raises(ValueError, match="layer 'block' of other is another term's; rename it"):
        run(Two(seed=3))
