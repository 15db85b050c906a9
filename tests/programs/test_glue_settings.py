"""Settings from a corpus to fine-tuned models."""

from pathlib import Path

import pytest

from nni_magic.programs.glue_settings import GlueSettings
from nni_magic.programs.options import read

WORDS = ["--strategy", "spos", "--data", "my_data"]


def settings(*more):
    return read(GlueSettings, [*WORDS, *more])


def test_stages_have_the_settings_of_the_one_command():
    chosen = settings(
        "--seed", "3", "--batch-size", "8", "--corpus", "a", "b", "--learning-rate", "0.1",
        "--pretrain-steps", "50", "--fine-tune-epochs", "2", "--fine-tune-batch-size", "16",
    )  # fmt: skip
    full = chosen.pretraining(Path("model"), Path("out"))
    assert (full.seed, full.batch_size, full.corpus, full.learning_rate) == (3, 8, ("a", "b"), 0.1)
    assert (full.steps, full.warmup) == (50, 10)
    tuned = chosen.fine_tuning(Path("model"), "STS-B", 5, Path("out"), Path("mnli"))
    assert (tuned.dataset, tuned.seed, tuned.epochs, tuned.batch_size) == ("STS-B", 5, 2, 16)
    assert (tuned.data, tuned.mnli) == (Path("my_data"), Path("mnli"))
    assert chosen.task.devices == 1


def test_teacher_is_that_of_a_pretraining_that_has_one():
    chosen = settings("--teacher", "large", "--teacher-weight", "0.5")
    taught, alone = (chosen.pretraining(Path("model"), Path("out"), taught=each).teaching
                     for each in (True, False))  # fmt: skip
    assert (taught.teacher, taught.teacher_weight) == (Path("large"), 0.5)
    assert alone.teacher is None


def test_pretraining_has_a_learning_rate_of_its_own_if_it_is_given():
    chosen = settings("--pretrain-learning-rate", "0.2")
    assert chosen.pretraining(Path("model"), Path("out")).learning_rate == 0.2


@pytest.mark.parametrize(("more", "message"), [
    (["--nodes", "2"], "nodes is 2; accepted are 'auto', 1"),
    (["--fine-tune-seeds", "1", "1"], r"fine_tune_seeds is \(1, 1\); accepted are one or more"),
    (["--fine-tune-seeds", "-1"], "fine_tune_seeds is -1; accepted are"),
    (["--pretrain-steps", "0"], "pretrain_steps is 0; accepted are"),
    (["--pretrain-save-every", "0"], "pretrain_save_every is 0; accepted are"),
    (["--warmup-steps", "600"], "warmup_steps is 600; accepted are 0 to 500"),
    (["--strategy", "none"], "strategy is 'none'; accepted are 'spos'"),
])  # fmt: skip
def test_mistake_is_told(more, message):
    with pytest.raises(ValueError, match=message):
        settings(*more)


def test_strategy_must_be_given():
    with pytest.raises(ValueError, match="strategy is None; accepted are 'spos'"):
        read(GlueSettings, ["--data", "my_data"])
