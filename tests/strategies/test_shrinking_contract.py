"""Progressive shrinking under every strategy: ends with one child, resumes as if unstopped."""

import functools
import logging
import math

import pytest
import pytorch_lightning as pl
import torch
from nni.nas.evaluator.pytorch import DataLoader, Lightning, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from scores import Images, images
from spaces import ConvSpace, FlatSpace, set_path
from training import (
    ANCHORED,
    EVERY,
    QUIET,
    STRATEGIES,
    Stop,
    Watch,
    anchor_of,
    bert,
    dict_evaluator,
    make,
    train,
)

from nni_magic.search import ProgressiveShrinking

every_strategy = pytest.mark.parametrize("name", EVERY)

STEPS, EPOCHS = 3, 3  # two blocks of four candidates need 6 deletions


def lightning(watch, epochs=EPOCHS, module=None, shuffle=True, **trainer):
    callbacks = [watch, *trainer.pop("callbacks", [])]
    return Lightning(
        module or Images(),
        Trainer(max_epochs=epochs, callbacks=callbacks, **{**QUIET, **trainer}),
        train_dataloaders=DataLoader(images(24), batch_size=8, shuffle=shuffle),
        val_dataloaders=DataLoader(images(12), batch_size=6),
    )


def run(name, watch=None, checkpoint=None, *, space=lambda: ConvSpace(2), evaluator=lightning,
        n_drop=2, evaluations=6, settings=None, **trainer):  # fmt: skip
    watch = watch or Watch()
    torch.manual_seed(11)
    shrinking = ProgressiveShrinking(n_drop=n_drop, evaluations=evaluations)
    strategy = make(name, shrinking=shrinking, **(settings or {}))
    train(strategy, space(), evaluator(watch, **trainer), checkpoint)
    return strategy, watch, shrinking


@functools.cache
def whole_run(name, epochs=EPOCHS):
    return run(name, epochs=epochs)


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


# Constraints, scores that are not finite, other spaces


def different(sample):
    return len(set(sample.values()))


@pytest.mark.parametrize(
    ("name", "most"),
    # With 1 no two allowed children are neighbours: a walk has nowhere to go.
    [*((name, 2) for name in STRATEGIES), ("spos", 1), ("magic_a", 1)],
)
def test_a_valid_child_is_always_left(name, most):
    strategy, watch, shrinking = run(
        name, space=lambda: ConvSpace(3), epochs=9, n_drop=1, evaluations=3,
        settings={"filter": lambda sample: different(sample) <= most},
    )  # fmt: skip
    assert all(different(child) <= most for child, _ in watch.steps)
    assert all(different(record["best"]) <= most for record in shrinking.history)
    candidates = strategy.oneshot_module.sampler.candidates
    assert [len(choices) for choices in candidates.values()] == [1, 1, 1]
    assert different(strategy.oneshot_module.export()) <= most


class Diverging(Images):
    """Children with some candidate in the first block have no finite loss."""

    bad = ("conv1",)

    def validation_step(self, batch, index):
        loss = torch.nn.functional.cross_entropy(self.model(batch[0]), batch[1])
        failed = self.model.blocks[0]._sampled in self.bad
        self.log("val_loss", loss * math.nan if failed else loss)


def test_scores_that_are_not_finite_count_as_the_worst_and_are_named(caplog):
    evaluator = functools.partial(lightning, module=Diverging())
    with caplog.at_level(logging.WARNING):
        _, _, shrinking = run("spos", evaluator=evaluator, evaluations=16)
    first = shrinking.history[0]
    assert ["block_1", "conv1"] in [list(pair) for pair in first["dropped"]]
    assert (first["evaluated"], first["not_finite"]) == (16, 4)
    assert all(math.isfinite(value) for values in first["promise"].values() for value in values)
    assert "4 of 16 children have no finite score and count as the worst: " in caplog.text


def test_no_finite_score_at_all_ends_the_training():
    module = Diverging()
    module.bad = ConvSpace.CANDIDATES
    with pytest.raises(ValueError, match=r"none of 6 children has a finite score.*diverged"):
        run("spos", evaluator=functools.partial(lightning, module=module))


@pytest.mark.parametrize("name", ["spos", "magic_at"])
def test_shrinks_a_chain_under_autocast(name, caplog):
    strategy, _, shrinking = run(
        name, space=bert, evaluator=dict_evaluator, epochs=2, n_drop=4, precision="bf16-mixed"
    )
    assert len(shrinking.history) == 2
    assert len(strategy.oneshot_module.export()) == 4
    assert "alone" not in caplog.text


def test_too_few_epochs_are_refused_before_the_first_step():
    watch = Watch()
    with pytest.raises(ValueError, match="at least 3, as 2 epochs have to make the 6 del"):
        run("spos", watch, epochs=2)
    assert watch.steps == []


@pytest.mark.parametrize(("max_steps", "accumulated", "n_drop", "epochs"),
                         [(7, 1, 2, 3), (4, 2, 3, 2), (3, 2, 3, 2)])  # fmt: skip
def test_a_last_epoch_cut_short_counts(max_steps, accumulated, n_drop, epochs):
    strategy, _, shrinking = run(
        "spos", epochs=-1, max_steps=max_steps, accumulate_grad_batches=accumulated, n_drop=n_drop
    )
    assert len(shrinking.history) == epochs
    assert all(len(c) == 1 for c in strategy.oneshot_module.sampler.candidates.values())


def test_batchnorm_needs_training_data_that_a_strategy_always_has():
    _, _, shrinking = run("spos", settings={"calibration_batches": 2})
    assert len(shrinking.history) == EPOCHS
    with_supernets = run("spos", settings={"calibration_batches": 0})[2]
    assert with_supernets.history[0]["score"] != shrinking.history[0]["score"]


def test_one_shrinking_serves_two_runs():
    shrinking = ProgressiveShrinking(n_drop=4, evaluations=4)
    for _ in range(2):
        train(make("spos", shrinking=shrinking), FlatSpace(2, 3), flat(), seed=0)
        assert [record["epoch"] for record in shrinking.history] == [1]


def flat():
    module = Images()
    module.accuracy = torch.nn.Identity()
    module.validation_step = module.training_step
    data = torch.utils.data.TensorDataset(torch.randn(8, 4), torch.arange(8) % 4)
    return Lightning(
        module, Trainer(max_epochs=3, **QUIET),
        train_dataloaders=DataLoader(data, batch_size=4),
        val_dataloaders=DataLoader(data, batch_size=4),
    )  # fmt: skip
