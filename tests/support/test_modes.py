"""Which way a metric is better, told by its name."""

import re
import subprocess
import sys

import pytest

from nni_magic.support.modes import LESS, MORE, NEUTRAL, mode_of


@pytest.mark.parametrize("name", [
    "loss", "val_loss", "valid/loss", "val_loss/dataloader_idx_0", "val.loss", "validLoss",
    "test_error", "val_err", "perplexity", "val_ppl", "val_mse", "val-mae", "RMSE", "eer", "wer",
    "MeanSquaredError", "val_top1_error", "acc_loss", "cross_entropy", "CrossEntropyLoss",
])  # fmt: skip
def test_less_is_better_of_errors(name):
    assert mode_of(name, None) == "min"


@pytest.mark.parametrize("name", [
    "acc", "val_acc", "val_accuracy", "valid/top1", "top5", "top_5", "acc@1", "val_acc1",
    "val_acc/dataloader_idx_1", "valAcc", "auc", "BinaryAUROC", "val_f1", "f1_macro", "F1Score",
    "mAP", "val_mAP", "precision", "recall@10", "bleu", "bleu4", "rougeL", "r2", "mIoU", "val_dice",
    "MulticlassAccuracy", "loss_accuracy",
])  # fmt: skip
def test_more_is_better_of_what_was_right(name):
    assert mode_of(name, None) == "max"


def test_validation_loss_is_better_when_less():
    assert mode_of(None, None) == "min"


@pytest.mark.parametrize("metric", ["val_acc", "val_loss", "reward", None, len])
@pytest.mark.parametrize("mode", ["min", "max"])
def test_given_mode_is_taken(metric, mode):
    assert mode_of(metric, mode) == mode


@pytest.mark.parametrize("metric", [
    "reward", "score", "valacc", "neg_mean_squared_error", "1-acc", "acc_gap", "acc_drop",
    "val_acc_std", "fpr_at_recall95", "loss_reduction", "inverse_loss", "mnli_acc",
])  # fmt: skip
def test_mode_of_a_name_that_does_not_tell_is_asked_for(metric):
    message = f"^mode is None; accepted are 'min' and 'max', as metric '{metric}' does not tell whi"
    with pytest.raises(ValueError, match=message):
        mode_of(metric, None)


@pytest.mark.parametrize("metric", ["", " ", 0, [], False, b"val_loss"])
@pytest.mark.parametrize("mode", [None, "min"])
def test_metric_that_is_neither_name_nor_function_is_refused(metric, mode):
    message = f"^metric is {re.escape(repr(metric))}; accepted are the name of a metric, a function"
    with pytest.raises(ValueError, match=message):
        mode_of(metric, mode)


def test_mode_of_a_function_is_asked_for():
    message = r"^mode is None; accepted are 'min' and 'max', as metric <built-in function len> d"
    with pytest.raises(ValueError, match=message):
        mode_of(len, None)


def test_unknown_mode_is_refused():
    with pytest.raises(ValueError, match=r"^mode is 'best'; accepted are 'min', 'max'$"):
        mode_of("val_acc", "best")


def test_no_word_is_on_both_sides():
    assert not LESS & MORE
    assert not NEUTRAL & (LESS | MORE)


def test_torch_is_not_loaded():
    code = "import sys, nni_magic.support.modes; assert not {'torch', 'nni'} & {*sys.modules}"
    subprocess.run([sys.executable, "-c", code], check=True)
