"""One timed run: whose children it trains, when it hands over, and what it times."""

import pytorch_lightning as pl

from experiments.benchmarks import step_time, timed_training
from experiments.benchmarks.workloads import WORKLOADS


def small(steps=4):
    return step_time.parse_args(
        ["--steps", str(steps), "--warmup", "1", "--turn", "2", "--anchor-interval", "2",
         "--batch-size", "4", "--threads", "1", "--device", "cpu"]
    )  # fmt: skip


def test_nnis_side_draws_itself_and_trains_the_given_children(monkeypatch):
    settings = small()
    draws = []
    nnis = timed_training.RandomSamplingLightningModule.resample
    monkeypatch.setattr(
        timed_training.RandomSamplingLightningModule,
        "resample",
        lambda self: draws.append(nnis(self)),
    )
    run = timed_training.train("cnn", "nni:magic_t", 5, settings, lambda: None)
    workload = WORKLOADS["cnn"](settings)
    expected = timed_training.draw_children(workload, "magic_t", 5, settings)
    assert run.children == expected
    assert len(draws) == len(expected) == 5
    assert draws != expected


def test_turns_are_handed_over_every_few_timed_steps():
    settings = small(steps=5)
    handed = []
    run = timed_training.train("cnn", "spos", 0, settings, lambda: handed.append(1))
    assert len(handed) == 3  # before the timed steps 1, 3 and 5
    assert len(run.children) == 6


def test_only_steps_after_the_warm_up_are_timed():
    run = timed_training.train("cnn", "magic_at", 0, small(), lambda: None)
    assert run.anchor_comparisons == 2
    assert 0 < run.anchor_seconds < run.seconds
    assert run.last_loss > 0 and run.peak_memory is None
    assert timed_training.train("cnn", "spos", 0, small(), lambda: None).anchor_comparisons == 0


def test_callbacks_are_the_trainers():
    class Seen(pl.Callback):
        steps = 0

        def on_train_batch_end(self, *args):
            Seen.steps += 1

    timed_training.train("cnn", "spos", 0, small(), lambda: None, callbacks=[Seen()])
    assert Seen.steps == 5
