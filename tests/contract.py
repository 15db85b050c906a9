"""Every strategy on every kind of space and evaluator."""

import pytest
import torch
from spaces import CellSpace, ConvSpace, MixedSpace
from training import (
    ALIGNING,
    EVERY,
    Watch,
    bert,
    classification,
    dict_evaluator,
    make,
    train,
)

BERT, CNN, MIXED, CELL = "bert", "cnn", "mixed", "cell"
SPACES = {BERT: bert, CNN: ConvSpace, MIXED: MixedSpace, CELL: CellSpace}
EVALUATORS = {
    BERT: dict_evaluator, CNN: classification, MIXED: classification, CELL: classification,
}  # fmt: skip
# One cell, whose output goes to the head: aligned only where it is asked for by name.
OWN = {CELL: {"aligned_layers": ["cell"]}}

every_strategy = pytest.mark.parametrize("name", EVERY)
every_space = pytest.mark.parametrize("kind", SPACES)


def settings(name, kind):
    return OWN.get(kind, {}) if name in ALIGNING else {}


def run(name, kind, stop_after=None, path=None, checkpoint=None, **more):
    watch = Watch(stop_after, path)
    torch.manual_seed(11)
    space = SPACES[kind]()
    strategy = make(name, **{**settings(name, kind), **more})
    train(strategy, space, EVALUATORS[kind](watch), checkpoint)
    return strategy, watch
