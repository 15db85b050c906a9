"""Scores of many children, against every child run alone in plain torch."""

import itertools
import logging

import numpy as np
import pytest
import torch
from nni.nas.hub.pytorch import ProxylessNAS, ShuffleNetSpace
from scores import (
    Images,
    Rows,
    images,
    lightning,
    losses_by_hand,
    outputs_by_hand,
    population,
    rows,
    trained,
)
from spaces import (
    CellSpace,
    ChainSpace,
    ConvSpace,
    MixedSpace,
    NestedSpace,
    set_path,
    small_mobilenet,
)
from torch.nn.functional import cross_entropy
from training import Watch, bert, classification, dict_evaluator

from nni_magic.children.samples import active_labels, candidates, neighbours, random_sample
from nni_magic.search import ChildEvaluator
from nni_magic.supernet.chain import chain_of

IMAGES, LABELS = images().tensors

SPACES = {
    "bert": (bert, lambda: dict_evaluator(Watch())),
    "chain": (ChainSpace, lightning),
    "conv": (ConvSpace, lightning),
    "mixed": (MixedSpace, lightning),
    "mixed, two inputs": (lambda: MixedSpace(n_chosen=2), lightning),
    "nested": (NestedSpace, lambda: lightning(Rows(), rows())),
    "cell": (CellSpace, lightning),
    "cell of blocks": (lambda: CellSpace(factories=False), lightning),
}
CHAINS = ("bert", "chain")


def evaluator_for(net, evaluator, **settings):
    return ChildEvaluator(net, evaluator, **{"calibration_batches": 0, **settings})


@pytest.mark.parametrize(
    ("kind", "memory"),
    [*((kind, 2**28) for kind in SPACES), *itertools.product(CHAINS, (1, 30_000))],
)
def test_scores_are_those_of_children_alone(kind, memory, caplog):
    make, make_evaluator = SPACES[kind]
    net, evaluator = trained(make), make_evaluator()
    children = population(net)
    with caplog.at_level(logging.INFO):
        found = evaluator_for(net, evaluator, memory=memory)(children)
    assert found == pytest.approx(losses_by_hand(net, children, evaluator), rel=1e-6)
    assert len(set(found)) >= 3
    assert "alone" not in caplog.text
    assert len(chain_of(net)) == (6 if kind in CHAINS else 1)


def test_scores_are_of_the_first_batches_only():
    net, evaluator = trained(ChainSpace), lightning()
    children = population(net)
    found = evaluator_for(net, evaluator, n_batches=2)(children)
    assert found == pytest.approx(losses_by_hand(net, children, evaluator, 2), rel=1e-6)


def test_arguments_of_forward_reach_the_layers_that_name_them():
    class Scaled(Images):
        def validation_step(self, batch, index):
            scale = batch[1].float() / 10
            self.log("val_loss", cross_entropy(self.model(batch[0], scale=scale), batch[1]))

    net = trained(ChainSpace)
    children = population(net)
    evaluate = evaluator_for(net, lightning(Scaled()))
    found = evaluate(children)
    expected = []
    for child in children:
        set_path(net, child)
        with torch.no_grad():
            logits = net.eval()(IMAGES, LABELS / 10)
        expected.append(cross_entropy(logits, LABELS).item())
    assert found == pytest.approx(expected, rel=1e-5)
    assert evaluate.calls < 4 * len(children)


HUB = {
    "proxylessnas": (lambda: ProxylessNAS(10, width_mult=0.25), 32, 24),
    "mobilenetv3": (small_mobilenet, 32, 12),
    "shufflenet": (lambda: ShuffleNetSpace(10), 32, 22),
    "shufflenet with widths": (lambda: ShuffleNetSpace(10, channel_search=True), 32, 22),
}  # fmt: skip


@pytest.mark.parametrize("kind", HUB)
def test_scores_in_spaces_of_nnis_hub(kind, caplog):
    make, size, n_steps = HUB[kind]
    net = trained(make)
    evaluator = lightning(data=images(4, size, 3), batch_size=3)
    rng, choices = np.random.default_rng(0), candidates(net)
    drawn = [random_sample(choices, rng) for _ in range(3)]
    near = list(neighbours(drawn[0], choices))
    children = [*drawn, *(near[i] for i in rng.permutation(len(near))[:7]), drawn[0]]
    evaluate = evaluator_for(net, evaluator)
    found = evaluate(children)
    assert found == pytest.approx(losses_by_hand(net, children, evaluator), rel=1e-6, abs=1e-6)
    assert len(set(found)) >= 3
    assert "alone" not in caplog.text
    assert len(chain_of(net)) == n_steps
    assert evaluate.calls == evaluate.needed_calls(children) < len(children) * n_steps


# How much is shared


def brute_force_calls(net, children):
    """Different pairs (beginning, step), a beginning being all active choices up to there."""
    steps = chain_of(net)
    seen = set()
    for child in children:
        active = active_labels(net, child)
        beginning = ()
        for step in steps:
            choices = tuple((label, child[label]) for label in step.labels if label in active)
            beginning = (*beginning, choices)
            seen.add(beginning)
    return len(seen)


@pytest.mark.parametrize("kind", CHAINS)
def test_every_shared_beginning_runs_once(kind):
    make, make_evaluator = SPACES[kind]
    net = trained(make)
    children = population(net, 30)
    evaluate = evaluator_for(net, make_evaluator())
    evaluate(children)
    assert evaluate.calls == evaluate.needed_calls(children) == brute_force_calls(net, children)
    assert evaluate.calls < 4 * len(children)


def test_inactive_labels_make_no_other_child():
    net, evaluator = trained(MixedSpace), lightning()
    child = {"depth": 1, "op_1": "conv3", "op_2": "skip", "op_3": "skip", "kernel": 1,
             "inputs": [1]}  # fmt: skip
    same = [{**child, "op_2": op, "op_3": other} for op in ("conv1", "conv3", "skip")
            for other in ("conv1", "skip")]  # fmt: skip
    evaluate = evaluator_for(net, evaluator)
    assert len(set(evaluate([*same, child]))) == 1
    assert evaluate.calls == 1
    deeper = {**child, "depth": 2, "op_2": "conv1"}
    assert evaluate([deeper]) != evaluate([child])
    assert evaluate.calls == 2


def test_no_children_have_no_scores():
    evaluate = evaluator_for(trained(ChainSpace), lightning())
    assert evaluate([]) == []
    assert evaluate.needed_calls([]) == 0


# Metrics


def test_score_is_a_metric_by_its_name():
    net, evaluator = trained(ConvSpace), classification(Watch())
    children = population(net)[:12]
    found = evaluator_for(net, evaluator, metric="val_acc", mode="max")(children)
    for score, child in zip(found, children, strict=True):
        pairs = outputs_by_hand(net, child, evaluator, 4)
        right = sum((logits.argmax(1) == labels).sum().item() for logits, labels, _ in pairs)
        assert score == pytest.approx(right / sum(size for *_, size in pairs))


@pytest.mark.parametrize("space", [ChainSpace, ConvSpace])
def test_score_is_a_torchmetrics_object(space):
    net, evaluator = trained(space), lightning()
    evaluator.module.accuracy.update(torch.eye(10), torch.arange(10))
    children = population(net)[:12]
    found = evaluator_for(net, evaluator, metric="val_acc", mode="max")(children)
    for score, child in zip(found, children, strict=True):
        pairs = outputs_by_hand(net, child, evaluator, 4)
        logits, labels = (torch.cat([pair[i] for pair in pairs]) for i in (0, 1))
        assert score == pytest.approx((logits.argmax(1) == labels).double().mean().item())
    assert evaluator.module.accuracy.compute() == 1  # what it held before


@pytest.mark.parametrize("space", [ChainSpace, ConvSpace])
def test_score_is_a_function_of_the_outputs(space):
    def margin(logits, batch):
        return logits.gather(1, batch[1][:, None]).mean()

    net, evaluator = trained(space), lightning()
    children = population(net)[:12]
    found = evaluator_for(net, evaluator, metric=margin, mode="max")(children)
    for score, child in zip(found, children, strict=True):
        pairs = outputs_by_hand(net, child, evaluator, 4)
        chosen = [logits[torch.arange(size), labels] for logits, labels, size in pairs]
        assert score == pytest.approx(torch.cat(chosen).mean().item(), rel=1e-5)


def test_unknown_metric_is_named_with_those_there_are():
    evaluate = evaluator_for(trained(ChainSpace), lightning(), metric="val_f1")
    with pytest.raises(ValueError, match=r"metric is 'val_f1'; .* logs, \['val_acc', 'val_loss'\]"):
        evaluate(population(evaluate._model)[:2])


# In low precision


@pytest.mark.parametrize("kind", CHAINS)
def test_scores_under_autocast(kind, caplog):
    make, _ = SPACES[kind]
    net = trained(make)
    make_evaluator = {"bert": lambda: dict_evaluator(Watch(), precision="bf16-mixed"),
                      "chain": lambda: lightning(precision="bf16-mixed")}[kind]  # fmt: skip
    children = population(net)
    with caplog.at_level(logging.INFO):
        found = evaluator_for(net, make_evaluator())(children)
    with torch.autocast("cpu", torch.bfloat16):
        expected = losses_by_hand(net, children, make_evaluator())
    assert found == pytest.approx(expected, rel=1e-2)
    assert found != pytest.approx(losses_by_hand(net, children, make_evaluator()), rel=1e-6)
    assert "alone" not in caplog.text
