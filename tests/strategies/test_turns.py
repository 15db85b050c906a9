"""Several children a step, against the same step written by hand."""

import pytest
import torch
from nni.nas.evaluator.pytorch import DataLoader, Lightning, LightningModule, Trainer
from spaces import ConvSpace, FlatSpace, set_path
from torch import nn
from torch.utils.data import TensorDataset
from training import QUIET, Watch, bert, classification, dict_evaluator, make, train
from twins import Twins, TwinSampler

from nni_magic.samplers import UniformSampler
from nni_magic.supernet.step import Turn

X = torch.randn(16, 4, generator=torch.Generator().manual_seed(1))
Y = torch.randn(16, 4, generator=torch.Generator().manual_seed(2))


class Regression(LightningModule):
    """SGD on the mean squared error, with noise on the inputs that every step draws."""

    noise = 0.0

    def training_step(self, batch, batch_idx):
        x, y = batch
        self.seen = x + self.noise * torch.randn_like(x)
        return nn.functional.mse_loss(self.model(self.seen), y)

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", nn.functional.mse_loss(self.model(batch[0]), batch[1]))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def regression(watch, noise=0.0, **trainer):
    evaluator = Lightning(
        Regression(), Trainer(max_epochs=1, callbacks=[watch], **{**QUIET, **trainer}),
        train_dataloaders=DataLoader(TensorDataset(X, Y), batch_size=4),
        val_dataloaders=DataLoader(TensorDataset(X, Y), batch_size=16),
    )  # fmt: skip
    evaluator.module.noise = noise
    return evaluator


def run(strategy, watch=None, **settings):
    torch.manual_seed(5)
    space = FlatSpace()
    train(strategy, space, regression(watch or Watch(), **settings))
    return space


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


def assert_same_weights(a, b, tolerance=1e-6):
    for (name, x), y in zip(a.named_parameters(), b.parameters(), strict=True):
        torch.testing.assert_close(x, y, rtol=tolerance, atol=tolerance, msg=name)


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


class Choosy(Twins):
    """Of three children the one with the least loss on the batch."""

    def make_sampler(self, space):
        class Best(UniformSampler):
            watches_gradients = True

            def __init__(self, *args, **kwargs):
                super().__init__(*args, **kwargs)
                self.probed, self.told = [], []

            def turns(self, probe):
                children = [self.next() for _ in range(3)]
                losses = [probe(child) for child in children]
                self.probed.append((children, losses))
                return [Turn(min(zip(losses, range(3), children, strict=True))[2])]

            def tell(self, step):
                self.told.append((step.losses[0].item(), step.gradient_norm.item()))

        return Best(space, seed=self.seed)

    def make_terms(self):
        return []


def test_sampler_may_choose_by_the_loss_on_the_batch_and_is_told_what_came_of_it():
    norms = []

    class Norms(Watch):
        def on_before_optimizer_step(self, trainer, module, optimizer):
            gradients = [p.grad.flatten() for p in module.parameters() if p.grad is not None]
            norms.append(torch.cat(gradients).norm().item())

    watch = Norms()
    strategy = Choosy(seed=3, validation_batches=1)
    run(strategy, watch)
    sampler = strategy.oneshot_module.sampler
    assert len(sampler.probed) == len(sampler.told) == 4
    for (children, losses), (child, loss) in zip(sampler.probed, watch.steps, strict=True):
        assert child == children[losses.index(min(losses))]
        assert loss == pytest.approx(min(losses), rel=1e-6)
    assert [loss for loss, _ in sampler.told] == [loss for _, loss in watch.steps]
    assert [norm for _, norm in sampler.told] == pytest.approx(norms, rel=1e-6)


def test_probing_leaves_no_trace():
    """Not in BatchNorm's buffers, nor in the generators that dropout draws from."""

    class Probing(Twins):
        def make_sampler(self, space):
            class Curious(UniformSampler):
                def turns(self, probe):
                    child = self.next()
                    probe({label: choices[0] for label, choices in self.candidates.items()})
                    return [Turn(child)]

            return Curious(space, seed=self.seed)

        def make_terms(self):
            return []

    runs = []
    settings = {"seed": 3, "validation_children": 3, "validation_batches": 2}
    for strategy in (Probing(**settings), make("spos", calibration_batches=4)):
        watch, space = Watch(), None
        torch.manual_seed(11)
        space = ConvSpace()
        train(strategy, space, classification(watch))
        runs.append((watch.steps, space.state_dict()))
    (steps, state), (plain_steps, plain_state) = runs
    assert steps == plain_steps
    assert all(torch.equal(state[key], plain_state[key]) for key in plain_state)


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
