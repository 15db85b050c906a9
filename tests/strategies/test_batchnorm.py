"""Supernets with BatchNorm: children are scored, validated and listed with their own statistics."""

import pytest
import torch
from contract import PROXYLESS, refused
from nni.nas.evaluator.pytorch import DataLoader
from nni.nas.hub.pytorch import ProxylessNAS
from pytorch_lightning.plugins.layer_sync import TorchSyncBatchNorm
from pytorch_lightning.strategies import SingleDeviceStrategy
from scores import images, lightning, recalibrated_losses
from spaces import ConvSpace, WidthSpace
from torch import nn
from torch.nn.functional import cross_entropy
from training import ABLATIONS, STRATEGIES, TWO_TURNS, Watch, anchor_of, make, train

from nni_magic.supernet.calibration import tracking_norms
from search_spaces import ProxylessNASSpace

ALIGNED = {"warmup_epochs": 0, "anchor_interval": 1}


def ours():
    return ProxylessNASSpace.preset("tiny", resolution=8)


def hub():
    return ProxylessNAS(10, width_mult=0.25)


SHAPES = {hub: {"size": 32, "channels": 3}}


def run(name, space=ConvSpace, watch=None, checkpoint=None, *, epochs=2, trainer=None, **settings):
    shape = SHAPES.get(space, {})
    evaluator = lightning(
        data=images(12, **shape), train=DataLoader(images(24, **shape), batch_size=8),
        max_epochs=epochs, callbacks=[watch or Watch()], **(trainer or {}),
    )  # fmt: skip
    own = ALIGNED if name in ("magic_a", "magic_at") else {}
    torch.manual_seed(11)
    return train(make(name, **{**own, **settings}), space(), evaluator, checkpoint), evaluator


def loss_of(child, evaluator):
    with torch.no_grad():
        pairs = [(child.eval()(x), y) for x, y in evaluator.val_dataloaders]
    return sum(cross_entropy(*pair, reduction="sum").item() for pair in pairs) / 12


@pytest.mark.parametrize("name", STRATEGIES)
def test_children_have_the_scores_of_recalibrated_children(name):
    strategy, evaluator = run(name, calibration_batches=2)
    batches = list(evaluator.train_dataloaders)[:2]
    best = strategy.oneshot_module.best_children()
    children = [child for child, _ in best]
    expected = recalibrated_losses(strategy.supernet, children, evaluator, batches)
    assert [score for _, score in best] == pytest.approx(expected, rel=1e-5)
    for model in strategy.list_models(limit=2):
        child = model.executable_model()
        assert model.status.frozen() and child.training
        assert loss_of(child, evaluator) == pytest.approx(model.metric, rel=1e-5)


def test_anchors_and_challengers_are_recalibrated():
    held_out, batches = lightning(data=images(12)), [images(24)[:8]]
    scores = []

    class Spy(Watch):
        def on_train_start(self, trainer, module):
            score = anchor_of(module).score

            def noted(sample):
                net = module.training_module.model
                [expected] = recalibrated_losses(net, [sample], held_out, batches)
                scores.append((score(sample), expected))
                return scores[-1][0]

            anchor_of(module).score = noted

    run("magic_a", watch=Spy(), calibration_batches=1)
    assert len(scores) > 10
    assert [a for a, _ in scores] == pytest.approx([b for _, b in scores], rel=1e-5)


def test_validation_is_of_recalibrated_children():
    watch = Watch()
    strategy, evaluator = run("spos", watch=watch, calibration_batches=2)
    panel = strategy.oneshot_module.validation.panel
    batches = list(evaluator.train_dataloaders)[:2]
    expected = recalibrated_losses(strategy.supernet, panel, evaluator, batches)
    assert watch.validations[-1]["val_loss"] == pytest.approx(sum(expected) / 3, rel=1e-5)


def test_calibration_leaves_no_trace_in_training():
    runs = []
    for n in (0, 2):
        watch = Watch()
        strategy, _ = run("spos", watch=watch, calibration_batches=n)
        runs.append((watch, strategy.supernet.state_dict()))
    (without, plain), (watch, state) = runs
    assert watch.steps == without.steps
    assert watch.validations != without.validations
    assert all(torch.equal(plain[key], state[key]) for key in plain)


# ProxylessNAS: ours, with blocks left out, and that of NNI's hub, with its depths


@pytest.mark.parametrize(("space", "name"), [
    (ours, "magic_at"), (hub, "magic_at"),
    *(pytest.param(space, name, marks=pytest.mark.slow)
      for space in (ours, hub) for name in [*STRATEGIES, *ABLATIONS, *TWO_TURNS]),
])  # fmt: skip
def test_every_strategy_trains_proxylessnas(space, name, tmp_path):
    more = {"epochs": 1, "trainer": {"limit_train_batches": 2}}
    if name in ("average_alignment", "percentile_anchor"):
        more["warmup_epochs"] = 0
    watch = Watch()
    if refused(name, PROXYLESS, lambda: run(name, space, watch, **more)):
        return
    strategy, evaluator = run(name, space, watch, **more)
    assert len(watch.steps) == 2 and all(loss == loss for _, loss in watch.steps)
    [model] = strategy.list_models()
    assert strategy.supernet.contains(model.sample)
    assert loss_of(model.executable_model(), evaluator) == pytest.approx(model.metric, rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("space", [ours, hub])
@pytest.mark.parametrize("name", STRATEGIES)
def test_stopped_run_goes_on_as_if_it_had_not_stopped(space, name, tmp_path):
    whole, path = Watch(), tmp_path / "stopped.ckpt"
    strategy, _ = run(name, space, whole)
    before, after = Watch(4, path), Watch()
    run(name, space, before)
    again, _ = run(name, space, after, path)
    assert before.steps + after.steps == whole.steps
    states = [s.supernet.state_dict() for s in (strategy, again)]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    best = [s.oneshot_module.best_children() for s in (strategy, again)]
    assert best[0] == best[1]


# SyncBatchNorm. Torch runs it in training on a GPU only, once there are processes to synchronise;
# without them it computes what BatchNorm does. So its conversion is tested here, as Lightning's
# DDP does it: behind the module's set-up and before the fit, and back behind the fit.


class Synchronised(SingleDeviceStrategy):
    layer_sync = TorchSyncBatchNorm()

    def setup(self, trainer):
        self.model = self.layer_sync.apply(self.model)
        super().setup(trainer)

    def teardown(self):
        self.model = self.layer_sync.revert(self.model)
        super().teardown()


class Norms(Watch):
    def on_train_start(self, trainer, module):
        self.types = {type(norm) for norm in tracking_norms([module])}


@pytest.mark.parametrize("name", STRATEGIES)
def test_synchronised_norms_change_nothing_in_one_process(name):
    runs = []
    for trainer in ({}, {"strategy": Synchronised("cpu")}):
        watch = Norms()
        strategy, evaluator = run(name, watch=watch, trainer=trainer)
        [model] = strategy.list_models()
        assert loss_of(model.executable_model(), evaluator) == pytest.approx(model.metric, rel=1e-5)
        runs.append((watch, strategy.supernet.state_dict(), model.sample, model.metric))
    (plain, state, *best), (synchronised, its_state, *its_best) = runs
    assert plain.types == {nn.BatchNorm2d} and synchronised.types == {nn.SyncBatchNorm}
    assert plain.steps == synchronised.steps and plain.validations == synchronised.validations
    assert all(torch.equal(state[key], its_state[key]) for key in state)
    assert best == its_best


def test_synchronised_norms_of_variable_width_are_refused():
    with pytest.raises(ValueError, match=r"sync_batchnorm is True; accepted is False.*\['width'\]"):
        run("spos", WidthSpace, trainer={"strategy": Synchronised("cpu")})
