"""Every strategy on every kind of space and evaluator, or its refusal."""

import itertools

import pytest
import torch
from spaces import CellSpace, ConvSpace, MixedSpace
from training import (
    ABLATIONS,
    ALIGNING,
    EVERY,
    OTHERS,
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
# What a method cannot do: on a kind of space, on ProxylessNAS, or with a filter.
PROXYLESS, FILTER = "proxylessnas", "filter"
REFUSED = {
    ("fairnas", MIXED): "the space has choices inside of others; accepted are",
    ("fairnas", PROXYLESS): "the numbers of candidates are .*; accep|the space has choices inside",
    ("fairnas", FILTER): "filter is .*; accepted is None",
}

every_strategy = pytest.mark.parametrize("name", EVERY)


def every_strategy_and_space(*always):
    """Every strategy on every space; of the slow ones, the other methods on some spaces always."""
    names = [each if isinstance(each, str) else each.values[0] for each in EVERY]
    slow = {*ABLATIONS, "twins_by_turn"}
    return pytest.mark.parametrize(("name", "kind"), [
        pytest.param(
            name, kind,
            marks=[pytest.mark.slow]
            if name in slow and not (name in OTHERS and kind in always) else [],
        )
        for name, kind in itertools.product(names, SPACES)
    ])  # fmt: skip


def refused(name, what, attempt):
    """Tell whether a method refuses what it cannot do; then an attempt has to say so."""
    if (message := REFUSED.get((name, what))) is None:
        return False
    with pytest.raises(ValueError, match=message):
        attempt()
    return True


def settings(name, kind):
    return OWN.get(kind, {}) if name in ALIGNING else {}


def run(name, kind, stop_after=None, path=None, checkpoint=None, **more):
    watch = Watch(stop_after, path)
    torch.manual_seed(11)
    space = SPACES[kind]()
    strategy = make(name, **{**settings(name, kind), **more})
    train(strategy, space, EVALUATORS[kind](watch), checkpoint)
    return strategy, watch
