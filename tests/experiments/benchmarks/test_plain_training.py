"""Trainings without a strategy: a plain loop, and Lightning alone."""

import argparse

import pytest
import torch
from nni.nas.nn.pytorch import LayerChoice

from experiments.benchmarks import timed_training
from experiments.benchmarks.plain_training import plain_supernet, train_plainly
from experiments.benchmarks.workloads import WORKLOADS, ChainSpace

SMALL = ["--steps", "4", "--warmup", "1", "--turn", "2", "--batch-size", "4", "--device", "cpu"]


def settings_of(*words):
    parser = argparse.ArgumentParser()
    timed_training.add_run_options(parser, steps=100)
    return argparse.Namespace(**vars(parser.parse_args([*SMALL, *words])), threads=1)


@pytest.mark.parametrize(("workload", "steps"), [("bert", 4), ("cnn", 50)])
@pytest.mark.parametrize("side", ["loop", "lightning"])
def test_plain_sides_train_what_spos_trains(workload, steps, side, tmp_path):
    # 51 batches of the CNN are more than one epoch, whose order is drawn anew.
    text = tmp_path / "corpus.txt"
    words = "the cat sat on the mat and the dog ran home under the log "
    text.write_text("\n\n".join(words * 40 for _ in range(60)))
    settings = settings_of(
        "--corpus", str(text), "--cache", str(tmp_path / "cache"), "--steps", str(steps),
        "--batch-size", str(32 if workload == "cnn" else 4),
    )  # fmt: skip
    ours = timed_training.train(workload, "spos", 3, settings, lambda: None)
    plain = train_plainly(workload, side, 3, settings, lambda: None)
    assert plain.children == ours.children and len(plain.children) == steps + 1
    assert plain.last_loss == pytest.approx(ours.last_loss, rel=1e-5)
    assert plain.seconds > 0


def test_a_plain_block_calls_the_layer_that_was_chosen():
    space = ChainSpace(2, 3)
    layers = [space.blocks[1][name] for name in space.blocks[1].names]
    blocks = plain_supernet(space)
    assert list(blocks) == ["block_1", "block_2"]
    assert not any(isinstance(m, LayerChoice) for m in space.modules())
    blocks["block_2"].chosen = "2"
    hidden = torch.randn(4, 16)
    assert torch.equal(space.blocks[1](hidden), layers[2](hidden))


def test_hidden_states_of_a_chain_neither_grow_nor_vanish():
    torch.manual_seed(0)
    space = WORKLOADS["chain_100x16"](settings_of()).make_space()
    plain_supernet(space)
    logits = space(torch.rand(8, 1, 8, 8))
    assert 0.05 < logits.std() < 20
