"""Progressive shrinking under every strategy: ends with one child, resumes as if unstopped."""

import pytest
import pytorch_lightning as pl
import torch
from nni.nas.evaluator.pytorch import DataLoader
from pytorch_lightning.callbacks import ModelCheckpoint
from scores import Images, images
from shrunk import EPOCHS, STEPS, lightning, run, whole_run
from spaces import ConvSpace, set_path
from training import (
    ANCHORED,
    SHRINKABLE,
    Stop,
    Watch,
    anchor_of,
    make,
    train,
)

from nni_magic.search import ProgressiveShrinking

every_strategy = pytest.mark.parametrize("name", SHRINKABLE)


class Paths(pl.Callback):
    """Compares, at every step, the supernet's path with the child that is said to be trained."""

    def on_train_batch_end(self, trainer, module, *args):
        model, x = module.training_module.model, torch.ones(1, 1, 8, 8)
        model.eval()
        with torch.no_grad():
            found = model(x)
            set_path(model, module.child)
            assert torch.equal(found, model(x))
        model.train()
        assert all(module.child[label] in c for label, c in module.sampler.candidates.items())


@every_strategy
def test_shrinks_to_one_child_and_exports_it(name):
    strategy, watch, shrinking = run(name, epochs=6, callbacks=[Paths()])
    module = strategy.oneshot_module
    assert len(watch.steps) == EPOCHS * STEPS  # training has stopped by itself
    assert [record["epoch"] for record in shrinking.history] == [1, 2, 3]
    assert [len(record["dropped"]) for record in shrinking.history] == [2, 2, 2]
    child = {label: choices[0] for label, choices in module.sampler.candidates.items()}
    assert all(len(choices) == 1 for choices in module.sampler.candidates.values())
    assert module.export() == child
    [model] = strategy.list_models()
    assert model.sample == child
    assert [sample for sample, _ in module.best_children()] == [child]


class Known(pl.Callback):
    """What is known at the end of every epoch, and behind the first step of the next."""

    def __init__(self, anchored):
        self.anchored, self.seen = anchored, []

    def on_train_epoch_end(self, trainer, module):
        self.note(module)  # before the shrinking

    def on_train_batch_end(self, trainer, module, *args):
        if trainer.global_step % STEPS == 1:
            self.note(module)

    def note(self, module):
        known = [scored.sample for scored in module.leaderboard.ranked()]
        children = [*module.validation.panel, *known]
        children += [module.sampler.current]
        if self.anchored and (anchor := anchor_of(module)).sample:
            children += [anchor.sample]
        left = {label: list(choices) for label, choices in module.sampler.candidates.items()}
        self.seen.append((left, children))


@every_strategy
def test_everything_known_holds_only_what_is_left(name):
    known = Known(anchored=name in ANCHORED)
    settings = {"anchor_interval": 1} if "magic_a" in name else {}
    strategy, *_ = run(name, epochs=6, n_drop=1, settings=settings, callbacks=[known])
    assert len(known.seen) == 12
    for left, children in known.seen:
        assert len(children) >= 2
        for child in children:
            assert all(child[label] in choices for label, choices in left.items())
    if "magic_a" in name:
        assert anchor_of(strategy.oneshot_module).sample == strategy.oneshot_module.export()


def assert_same(before, resumed, whole):
    assert before.steps + resumed[1].steps == whole[1].steps
    assert repr(resumed[2].history) == repr(whole[2].history)  # nan is not nan
    best = [strategy.oneshot_module.best_children() for strategy in (resumed[0], whole[0])]
    assert best[0] == best[1]


@every_strategy
@pytest.mark.parametrize("stop_after", [3, 5, 9])
def test_resumes_after_a_step(name, stop_after, tmp_path):
    before = run(name, Watch(stop_after, tmp_path / "stopped.ckpt"))[1]
    assert len(before.steps) == stop_after
    resumed = run(name, checkpoint=tmp_path / "stopped.ckpt")
    assert_same(before, resumed, whole_run(name))


class Saves(ModelCheckpoint):
    """Stops the run like a kill when it has saved its checkpoint number ``n``."""

    def __init__(self, n, **settings):
        super().__init__(save_top_k=-1, **settings)
        self.left = n

    def _save_checkpoint(self, trainer, path):
        super()._save_checkpoint(trainer, path)
        self.saved = path
        self.left -= 1
        if not self.left:
            raise Stop


MOMENTS = {
    "after validation": {"save_on_train_epoch_end": False},
    "after validation, by a metric": {"monitor": "val_loss", "save_on_train_epoch_end": False},
    "at the end of the epoch": {"save_on_train_epoch_end": True},
    "at the end of the epoch, by a metric": {"monitor": "val_loss",
                                             "save_on_train_epoch_end": True},
    "after the epoch's last step": {"every_n_train_steps": STEPS},
}  # fmt: skip


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("moment", MOMENTS)
def test_resumes_from_lightnings_checkpoints(moment, n, tmp_path, name="magic_at"):
    saves = Saves(n, dirpath=tmp_path, **MOMENTS[moment])
    before = run(name, epochs=4, callbacks=[saves], enable_checkpointing=True)[1]
    resumed = run(name, epochs=4, checkpoint=saves.saved)
    assert_same(before, resumed, whole_run(name, 4))


def test_resumes_with_a_loaders_own_generator(tmp_path, name="magic_t"):
    """Reading training data for BatchNorm must not disturb the order of the training data."""

    def own_generator(watch, **trainer):
        evaluator = lightning(watch, **trainer)
        generator = torch.Generator().manual_seed(9)
        evaluator.train_dataloaders = DataLoader(
            images(24), batch_size=8, shuffle=True, generator=generator
        )
        return evaluator

    whole = run(name, evaluator=own_generator)
    before = run(name, Watch(5, tmp_path / "stopped.ckpt"), evaluator=own_generator)[1]
    resumed = run(name, checkpoint=tmp_path / "stopped.ckpt", evaluator=own_generator)
    assert_same(before, resumed, whole)


class Batches(Images):
    """Remembers the training data and a random number of every step."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def training_step(self, batch, index):
        loss = super().training_step(batch, index)  # ends here when only the call is wanted
        self.seen.append((batch[1].tolist(), torch.rand(1).item()))
        return loss


@pytest.mark.parametrize("own", [False, True])
def test_shrinking_leaves_data_and_random_numbers_of_training_alone(own):
    seen = []
    for calibration_batches, shrinks in ((1, True), (0, True), (0, False)):
        module, watch = Batches(), Watch()
        evaluator = lightning(watch, module=module)
        if own:
            evaluator.train_dataloaders = DataLoader(
                images(24), batch_size=8, shuffle=True, generator=torch.Generator().manual_seed(9)
            )
        strategy = make(
            "spos",
            shrinking=ProgressiveShrinking(n_drop=2, evaluations=6) if shrinks else None,
            calibration_batches=calibration_batches,
        )
        torch.manual_seed(11)
        space = ConvSpace(2, dropout=0.0)  # torch draws for dropout with whatever probability
        for block in space.blocks:
            block["drop"][1] = torch.nn.Identity()
        train(strategy, space, evaluator)
        assert len(module.seen) == EPOCHS * STEPS
        seen.append(module.seen)
    assert seen[0] == seen[1] == seen[2]
