"""A run that is stopped anywhere and resumed goes on as if it had not stopped."""

import itertools

import pytest
import torch
from contract import BERT, CNN, MIXED, every_strategy, refused, run
from nni.nas.evaluator.pytorch import DataLoader
from pytorch_lightning.callbacks import ModelCheckpoint
from spaces import ConvSpace
from torch.utils.data import IterableDataset
from training import (
    ABLATIONS,
    STRATEGIES,
    Watch,
    bert,
    classification,
    dict_evaluator,
    images,
    make,
    train,
)

torch.set_num_threads(1)


@pytest.mark.parametrize(
    ("name", "kind", "stop_after"),
    [
        *itertools.product(STRATEGIES, [BERT, CNN], [1, 4, 6, 7, 11]),
        *((name, CNN, 7) for name in [*ABLATIONS, "twins"]),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in itertools.product(ABLATIONS, [BERT, CNN], [1, 4, 6, 11])
        ),
    ],
)
def test_stopped_run_goes_on_as_if_it_had_not_stopped(name, kind, stop_after, tmp_path):
    whole_strategy, whole = run(name, kind)
    path = tmp_path / "stopped.ckpt"
    _, before = run(name, kind, stop_after, path)
    strategy, after = run(name, kind, checkpoint=path)
    assert len(before.steps) == stop_after
    assert before.steps + after.steps == whole.steps
    assert after.validations[-1] == whole.validations[-1]
    for a, b in zip(
        strategy.supernet.state_dict().values(),
        whole_strategy.supernet.state_dict().values(),
        strict=True,
    ):
        assert torch.equal(a, b)
    assert strategy.oneshot_module.best_children() == whole_strategy.oneshot_module.best_children()


@every_strategy
def test_run_that_was_over_when_it_was_stopped_lists_the_same(name, tmp_path):
    torch.manual_seed(11)
    space, evaluator = bert(), dict_evaluator(Watch())
    # As Lightning itself saves, after the module's own end of the epoch.
    saved = ModelCheckpoint(tmp_path, "{epoch}", save_top_k=-1, save_on_train_epoch_end=True)
    evaluator.trainer.callbacks.append(saved)
    whole = train(make(name), space, evaluator)
    strategy, after = run(name, BERT, checkpoint=tmp_path / "epoch=2.ckpt")
    assert after.steps == []
    assert strategy.oneshot_module.best_children() == whole.oneshot_module.best_children()


@every_strategy
def test_run_goes_on_from_a_validation_within_an_epoch(name, tmp_path):
    def evaluator(watch, *callbacks):
        found = classification(watch, val_check_interval=3)
        found.trainer.callbacks.extend(callbacks)
        return found

    def start(watch, *callbacks, checkpoint=None):
        torch.manual_seed(11)
        return train(make(name), ConvSpace(), evaluator(watch, *callbacks), checkpoint)

    # Lightning's callbacks save before the strategy has ended the validation.
    saves = ModelCheckpoint(tmp_path, "{step}", save_top_k=-1, save_on_train_epoch_end=False)
    start(whole := Watch(), saves)
    assert {path.stem for path in tmp_path.iterdir()} == {f"step={n}" for n in range(3, 19, 3)}
    for n in (3, 9, 12):
        start(after := Watch(), checkpoint=tmp_path / f"step={n}.ckpt")
        assert after.steps == whole.steps[n:]


class Stream(IterableDataset):
    """Images without a length, which Lightning reads ahead."""

    def __iter__(self):
        return iter(images())


@pytest.mark.parametrize("stop_after", [4, 6, 8, 12])
def test_stopped_run_goes_on_with_data_without_length(stop_after, tmp_path, name="magic_t"):
    def start(watch, checkpoint=None):
        torch.manual_seed(11)
        evaluator = classification(watch)
        evaluator.train_dataloaders = DataLoader(Stream(), batch_size=8)
        return train(make(name), ConvSpace(), evaluator, checkpoint)

    start(whole := Watch())
    start(before := Watch(stop_after, path := tmp_path / "stopped.ckpt"))
    start(after := Watch(), path)
    assert len(whole.steps) == 18
    assert before.steps + after.steps == whole.steps


@pytest.mark.parametrize("epoch", [0, 1])
def test_data_without_length_are_not_passed_over_from_the_end_of_an_epoch(epoch, tmp_path):
    def start(watch, checkpoint=None, callbacks=()):
        torch.manual_seed(11)
        evaluator = classification(watch)
        evaluator.train_dataloaders = DataLoader(Stream(), batch_size=8)
        evaluator.trainer.callbacks.extend(callbacks)
        return train(make("spos"), ConvSpace(), evaluator, checkpoint)

    start(whole := Watch(), callbacks=[ModelCheckpoint(tmp_path, "{epoch}", save_top_k=-1)])
    start(after := Watch(), tmp_path / f"epoch={epoch}.ckpt")
    assert after.steps == whole.steps[6 * (epoch + 1) :]


@every_strategy
def test_stopped_run_goes_on_in_a_mixed_space(name, tmp_path):
    if refused(name, MIXED, lambda: run(name, MIXED)):
        return
    whole = run(name, MIXED)[1]
    path = tmp_path / "stopped.ckpt"
    before = run(name, MIXED, 8, path)[1]
    assert before.steps + run(name, MIXED, checkpoint=path)[1].steps == whole.steps
