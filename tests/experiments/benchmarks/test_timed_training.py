"""One timed run of a strategy, at its smallest."""

import argparse

import pytest
import torch

from experiments.benchmarks import timed_training
from experiments.benchmarks.workloads import WORKLOADS
from nni_magic.strategies import SPOS, MagicAT

SMALL = [
    "--steps", "4", "--warmup", "1", "--turn", "2", "--anchor-interval", "2", "--batch-size", "4",
    "--device", "cpu",
]  # fmt: skip


def settings_of(*words):
    parser = argparse.ArgumentParser()
    timed_training.add_run_options(parser, steps=100)
    return argparse.Namespace(**vars(parser.parse_args([*SMALL, *words])), threads=1)


def test_methods_of_the_paper_are_timed():
    assert timed_training.TIMED[:4] == ("spos", "magic_t", "magic_a", "magic_at")
    assert "percentile_anchor" not in timed_training.TIMED


def test_methods_with_an_anchor_align_from_the_first_step_on():
    settings = settings_of()
    strategy = timed_training.make_strategy("magic_at", 3, settings)
    assert type(strategy) is MagicAT and strategy.seed == 3
    assert strategy.settings.warmup_epochs == 0
    assert type(timed_training.make_strategy("spos", 3, settings)) is SPOS


def test_nnis_side_draws_itself_and_trains_the_given_children(monkeypatch):
    settings = settings_of()
    draws = []
    nnis = timed_training.RandomSamplingLightningModule.resample
    monkeypatch.setattr(
        timed_training.RandomSamplingLightningModule,
        "resample",
        lambda self: draws.append(nnis(self)),
    )
    torch.set_num_threads(1)
    run = timed_training.train("cnn", "nni:magic_t", 5, settings, lambda: None)
    workload = WORKLOADS["cnn"](settings)
    expected = timed_training.draw_children(workload, "magic_t", 5, settings)
    assert run.children == expected
    assert len(draws) == len(expected) == 5
    assert draws != expected


def test_turns_are_handed_over_every_few_timed_steps():
    settings = settings_of("--steps", "5")
    handed = []
    run = timed_training.train("cnn", "spos", 0, settings, lambda: handed.append(1))
    assert len(handed) == 3  # before the timed steps 1, 3 and 5
    assert len(run.children) == 6


def test_anchor_comparisons_are_timed_after_the_warmup():
    run = timed_training.train("cnn", "magic_a", 0, settings_of(), lambda: None)
    assert run.anchor_comparisons == 2
    assert 0 < run.anchor_seconds < run.seconds
    assert run.peak_memory is None


@pytest.mark.parametrize("name", ["repetitions", "steps", "warmup", "turn", "anchor_interval"])
def test_numbers_below_one_are_named(name):
    settings = settings_of()
    timed_training.check_counts(settings, "threads")
    setattr(settings, name, 0)
    with pytest.raises(ValueError, match=f"{name} is 0; accepted are whole numbers of at least 1"):
        timed_training.check_counts(settings)
