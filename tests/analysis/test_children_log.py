"""What is logged of children, by a writer that keeps instead of one that draws."""

from collections import Counter

import numpy as np
import pytest
import pytorch_lightning as pl
from pytorch_lightning.loggers import CSVLogger, Logger
from spaces import ConvSpace
from training import classification, make, train

from nni_magic.analysis.children_log import LogChildren
from nni_magic.children.samples import candidates, digest

CHOICES = candidates(ConvSpace())


class Writer:
    """Has the methods of TensorBoard's writer, and keeps what they are given."""

    def __init__(self):
        self.written = []

    def add_histogram(self, name, values, step):
        self.written.append((name, np.asarray(values).tolist(), step))

    def add_histogram_raw(self, name, bucket_counts, global_step, **others):
        assert len(bucket_counts) == len(others["bucket_limits"])
        assert sum(bucket_counts) == others["num"]
        self.written.append((name, bucket_counts, global_step))

    def add_scalar(self, name, value, step):
        self.written.append((name, float(value), step))

    def add_text(self, name, text, step):
        self.written.append((name, text, step))


class Keeping(Logger):
    name, version = "keeping", 0

    def __init__(self):
        super().__init__()
        self.experiment = Writer()

    def log_metrics(self, metrics, step=None):
        pass

    def log_hyperparams(self, *args, **kwargs):
        pass


class Watch(pl.Callback):
    """Counts by itself what is trained, and keeps the best child and the anchor of every epoch."""

    def __init__(self):
        self.trained, self.best, self.validated = [[]], [], []

    def on_train_batch_end(self, trainer, module, *args):
        self.trained[-1] += [turn.child for turn in module.turns]

    def on_train_epoch_end(self, trainer, module):
        self.trained.append([])
        self.best.append(module.leaderboard.ranked())
        self.validated.append(module.validation.children)


def logged(name, logger, **settings):
    watch = Watch()
    evaluator = classification(watch, logger=logger)
    evaluator.trainer.callbacks.append(LogChildren())
    train(make(name, **settings), ConvSpace(), evaluator)
    return watch, logger.experiment.written


def test_use_of_candidates_and_scores_are_those_of_the_training():
    watch, written = logged("magic_a", Keeping(), warmup_epochs=1)
    for epoch, children in enumerate(watch.trained[:-1], 1):
        place = epoch * len(watch.trained[0])
        for label, choices in CHOICES.items():
            found = [row[1] for row in written if row[::2] == (f"candidates/{label}", place)]
            used = Counter(child[label] for child in children)
            assert found == [[used[choice] for choice in choices]]
    best = [value for name, value, _ in written if name == "children/best_score"]
    ranked = [epoch for epoch in watch.best if epoch]
    assert best == [epoch[0].score for epoch in ranked] != []
    anchors = [text for name, text, _ in written if name == "anchor/architecture"]
    last = watch.validated[-1][0]
    assert digest(last) in anchors[-1]
    assert f"| block_1 | {last['block_1']} |" in anchors[-1]


def test_a_method_without_an_anchor_has_none_in_the_log():
    _, written = logged("spos", Keeping())
    assert {name for name, *_ in written} == {f"candidates/{label}" for label in CHOICES}


def test_another_logger_is_refused(tmp_path):
    message = "logger is .'CSVLogger'.; accepted is a TensorBoardLogger"
    with pytest.raises(ValueError, match=message):
        logged("spos", CSVLogger(tmp_path))


def test_another_module_is_refused():
    with pytest.raises(TypeError, match="LightningModule has no turns and no child_step and no"):
        LogChildren().setup(None, pl.LightningModule(), "fit")
