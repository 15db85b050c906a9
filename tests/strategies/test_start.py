"""What a run says when it starts."""

import logging

import pytest
from spaces import ConvSpace
from training import Watch, classification, make, train

LIGHTNING = logging.getLogger("pytorch_lightning")


@pytest.fixture
def said(caplog):
    """Lines that Lightning's logger gives, as a user sees them."""
    LIGHTNING.addHandler(caplog.handler)
    with caplog.at_level(logging.INFO, LIGHTNING.name):
        yield lambda start: [line for line in caplog.messages if line.startswith(start)]
    LIGHTNING.removeHandler(caplog.handler)


def test_seed_and_what_ranks_children_are_said_once(said):
    train(make("spos"), ConvSpace(), classification(Watch(), epochs=1))
    assert said("SPOS") == [
        "SPOS with UniformSampler: seed 3 draws the children (weights, shuffling and dropout "
        "follow seed_everything); they are ranked by the validation loss, mode min"
    ]


def test_mode_that_a_name_tells_is_said(said):
    train(make("spos", metric="val_acc"), ConvSpace(), classification(Watch(), epochs=1))
    [line] = said("SPOS")
    assert line.endswith("; they are ranked by val_acc, mode max")


@pytest.mark.parametrize("name", ["magic_a", "average_alignment"])
def test_layers_weight_and_warm_start_are_said_once(said, name):
    train(
        make(name, align_every=None, warmup_epochs=None), ConvSpace(), classification(Watch())
    )
    assert said("Aligned") == [
        "Aligned are the hidden states of blocks.2, of 4 layers, with weight 0.5; warmup_epochs "
        "is 1"
    ]
