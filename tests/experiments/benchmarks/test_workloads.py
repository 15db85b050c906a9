"""What the benchmark of training steps trains."""

from argparse import Namespace

import torch
from torch import nn

from experiments.benchmarks.workloads import WORKLOADS, DigitsSpace

SETTINGS = Namespace(batch_size=5, device="cpu", precision="32-true", preset="tiny")


def test_digits_space_maps_images_to_logits():
    space = DigitsSpace(n_blocks=2, channels=4)
    assert len(space.simplify()) == 2
    child = space.freeze({"block_1": "conv5", "block_2": "separable3"})
    assert child(torch.zeros(3, 1, 8, 8)).shape == (3, 10)


def test_title_of_the_cnn_says_what_is_built():
    workload = WORKLOADS["cnn"](SETTINGS)
    assert workload.title == "CNN space of 8 blocks, 16 channels, 8 × 8 pixels, batch 5"
    space = workload.make_space()
    assert len(space.simplify()) == 8
    assert space.stem.out_channels == 16


def test_digits_are_those_of_scikit_learn_in_the_order_of_a_seed():
    make = WORKLOADS["cnn"](SETTINGS).make_evaluator
    first, again, other = (
        next(iter(make(seed, 3, []).train_dataloaders)) for seed in (0, 0, 1)
    )  # fmt: skip
    images, labels = first
    assert images.shape == (5, 1, 8, 8) and images.min() >= 0 and images.max() == 1
    assert set(labels.tolist()) <= set(range(10))
    assert torch.equal(images, again[0])
    assert not torch.equal(images, other[0])
    held_out = make(0, 3, []).val_dataloaders.dataset
    assert len(held_out) == 1797 - 1536


def test_text_is_trained_without_dropout_for_the_given_steps(corpus):
    settings = Namespace(**vars(SETTINGS), corpus=str(corpus), cache=corpus / "cache")
    workload = WORKLOADS["bert"](settings)
    assert workload.title == "BERT space, preset tiny, batch 5"
    dropouts = [one for one in workload.make_space().modules() if isinstance(one, nn.Dropout)]
    assert all(one.p == 0 for one in dropouts)
    evaluator = workload.make_evaluator(0, 3, [])
    assert evaluator.trainer.max_steps == 3
    assert evaluator.train_dataloaders.batch_size == 5
