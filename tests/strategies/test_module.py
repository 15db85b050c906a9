"""The Lightning module stands in for the evaluator's own."""

import pytest
import pytorch_lightning as pl
import torch
from nni.nas.evaluator.pytorch import DataLoader, Lightning, Trainer
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.space import RawFormatModelSpace
from training import QUIET, STRATEGIES, DictModule, Tokens, Watch, bert, dict_evaluator, make, train


@pytest.mark.parametrize("name", STRATEGIES)
def test_skipped_batch_is_skipped(name):
    class Skipping(DictModule):
        def training_step(self, batch, batch_idx):
            return None if batch_idx == 1 else super().training_step(batch, batch_idx)

    seen = []

    class Note(pl.Callback):
        def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
            seen.append((trainer.global_step, outputs))

    evaluator = dict_evaluator(Note())
    evaluator.module = Skipping()
    train(make(name), bert(), evaluator)
    skipped = [outputs for _, outputs in seen if not outputs]
    assert len(skipped) == 3
    assert len(seen) == 12


def test_output_of_the_evaluator_is_kept_beside_the_loss():
    seen = []

    class Note(pl.Callback):
        def on_train_batch_end(self, trainer, module, outputs, *args):
            seen.append(outputs)

    train(make("magic_a", warmup_epochs=0), bert(), dict_evaluator(Note()))
    assert {"loss", "extra"} <= seen[-1].keys()


class Data(pl.LightningDataModule):
    def train_dataloader(self):
        return DataLoader(Tokens(), batch_size=6, shuffle=True)

    def val_dataloader(self):
        return DataLoader(Tokens(), batch_size=8)


@pytest.mark.parametrize("name", STRATEGIES)
def test_works_with_a_datamodule_and_resumes(name, tmp_path):
    path = tmp_path / "stopped.ckpt"

    def run(watch, checkpoint=None):
        evaluator = Lightning(
            DictModule(), Trainer(max_epochs=2, callbacks=[watch], **QUIET), datamodule=Data()
        )
        torch.manual_seed(11)
        train(make(name), bert(), evaluator, checkpoint)
        return watch.steps

    whole = run(Watch())
    assert run(Watch(3, path)) + run(Watch(), path) == whole


def test_best_children_need_a_run():
    strategy = make("spos")
    space = RawFormatModelSpace.from_model(bert(), dict_evaluator(Watch()))
    strategy.initialize(space, SequentialExecutionEngine())
    with pytest.raises(RuntimeError, match="the strategy has not been run: no child has a score"):
        list(strategy.list_models())


def test_foreign_checkpoint_is_refused(tmp_path):
    path = tmp_path / "foreign.ckpt"
    torch.save(
        {
            "state_dict": {},
            "epoch": 0,
            "global_step": 0,
            "pytorch-lightning_version": pl.__version__,
        },
        path,
    )
    with pytest.raises(ValueError, match="no state of nni_magic"):
        train(make("spos"), bert(), dict_evaluator(Watch()), path)
