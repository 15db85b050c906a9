"""Gradients of shared candidates, against children run alone in plain autograd."""

import copy
import logging

import pytest
import torch
from nni.nas.nn.pytorch import LayerChoice
from scores import Images, Rows, images, lightning, rows, trained
from spaces import (
    CellSpace,
    ChainSpace,
    ConvSpace,
    FlatSpace,
    MixedSpace,
    NestedSpace,
    SizedSpace,
    set_path,
)
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import default_collate
from training import Tokens, Watch, bert, dict_evaluator

from nni_magic.analysis.gradients import SharedGradients


def first(data, n, start=0):
    return default_collate([data[i] for i in range(start, start + n)])


def varied(base, **choices):
    """Children that differ in one label."""
    [(label, values)] = choices.items()
    return [{**base, label: value} for value in values]


def chain_children():
    base = dict.fromkeys([f"block_{n}" for n in range(1, 5)], "conv3")
    children = varied(base, block_3=["conv1", "conv3", "skip", "drop"])
    return [*children, {**base, "block_4": "drop"}, {**base, "block_1": "conv1"}]


def bert_children():
    base = {"layer_1": "mha2", "layer_2": "conv3", "layer_3": "ffn", "layer_4": "mha2"}
    return [*varied(base, layer_3=["mha2", "ffn", "conv3"]), {**base, "layer_1": "ffn"}]


def mixed_children():
    base = {"depth": 1, "op_1": "conv3", "op_2": "skip", "op_3": "conv1", "kernel": 3,
            "inputs": [1]}  # fmt: skip
    return [base, {**base, "depth": 3}, {**base, "kernel": 5, "inputs": [2]}]


def flat_children():
    return varied({"block_1": 0, "block_2": 1, "block_3": 2}, block_3=[0, 1, 2])


class SharedLabel(FlatSpace):
    """Its last block has the label of its first one, as all cells of NNI's NasBench201 have."""

    def __init__(self):
        super().__init__()
        self.blocks.append(LayerChoice([nn.Linear(4, 4) for _ in range(3)], label="block_1"))


def nested_children():
    base = {"outer": "nested", "inner": 1, "tail": 0}
    return [base, {**base, "tail": 1}, {**base, "inner": 2}]


CASES = {
    # space, evaluator, data, label, children, the candidate in a child that was frozen
    "chain": (ChainSpace, lightning, images, "block_2", chain_children,
              lambda child: child.layers[1].operator),
    "bert": (bert, lambda: dict_evaluator(Watch()), Tokens, "layer_2", bert_children,
             lambda child: child.layers[1].operator),
    "conv": (ConvSpace, lightning, images, "block_2", chain_children,
             lambda child: child.blocks[1]),
    "mixed": (MixedSpace, lightning, images, "op_1", mixed_children,
              lambda child: child.repeat[0]),
    "flat": (FlatSpace, lambda: lightning(Rows()), rows, "block_2", flat_children,
             lambda child: child.blocks[1]),
    "shared label": (SharedLabel, lambda: lightning(Rows()), rows, "block_1", flat_children,
                     lambda child: nn.ModuleList([child.blocks[0], child.blocks[3]])),
}  # fmt: skip
CHAINS = ("chain", "bert")


def loss_by_hand(child, batch):
    if isinstance(batch, dict):
        logits = child(batch["input_ids"], attention_mask=batch["attention_mask"])
        kept = batch["attention_mask"]
        return cross_entropy(logits[kept], batch["labels"][kept])
    return cross_entropy(child(batch[0]), batch[1])


def gradient_by_hand(net, sample, batch, find):
    """Of the candidate in a copy of the child: dropout off, norms by the batch."""
    child = copy.deepcopy(net.freeze(sample)).eval().requires_grad_(True)
    for module in child.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.train()
    loss_by_hand(child, batch).backward()
    return torch.cat([p.grad.flatten() for p in find(child).parameters()]).double()


def expected(net, children, batch, find):
    return torch.stack([gradient_by_hand(net, child, batch, find) for child in children])


def make(case):
    space, evaluator, data, label, children, find = CASES[case]
    net, batch = trained(space), first(data(), 8)
    gradients = SharedGradients(net, evaluator(), [batch])
    return net, gradients, batch, label, children(), find


def assert_close(found, wanted):
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6 * wanted.abs().max().item())


@pytest.mark.parametrize(("case", "training"), [
    *((case, True) for case in CASES), ("chain", False), ("conv", False),
])  # fmt: skip
def test_gradients_are_those_of_plain_autograd(case, training, caplog):
    net, gradients, batch, label, children, find = make(case)
    net.train(training)
    found = gradients(label, children)
    assert found.dtype == torch.float64
    wanted = expected(net, children, batch, find)
    assert_close(found, wanted)
    assert len({round(row.norm().item(), 9) for row in wanted}) >= len(children) - 1
    assert "run whole" not in caplog.text


@pytest.mark.parametrize("case", CASES)
def test_similarity_is_the_cosine(case):
    net, gradients, batch, label, children, find = make(case)
    wanted = expected(net, children, batch, find)
    found = gradients.similarity(label, children)
    assert found.shape == (len(children), len(children)) and found.dtype == "float64"
    for i, a in enumerate(wanted):
        for j, b in enumerate(wanted):
            cosine = torch.cosine_similarity(a, b, dim=0).item()
            assert found[i, j] == pytest.approx(cosine, abs=1e-5)
    assert found.min() < 0.999


def counted(modules):
    """How often each module runs, counted from here on."""
    counts = [0] * len(modules)

    def hook(i):
        def count(*_):
            counts[i] += 1

        return count

    for i, module in enumerate(modules):
        module.register_forward_hook(hook(i))
    return counts


@pytest.mark.parametrize(("case", "n", "shared"), [("chain", 5, 2), ("bert", 3, 2)])
def test_a_chain_runs_once_what_children_share(case, n, shared):
    net, gradients, _, label, children, _ = make(case)
    gradients(label, children[:n])  # finds out that it is a chain
    counts = counted([net.stem, *net.layers])
    gradients(label, children[:n])
    assert counts == [1] * (1 + shared) + [n] * (4 - shared)
    gradients(label, [*children[:n], children[-1]])  # one that differs below
    assert counts == [1 + 2] * (1 + shared) + [2 * n + 1] * (4 - shared)


@pytest.mark.parametrize(("case", "label"), [
    ("chain", "block_1"), ("chain", "block_4"), ("bert", "layer_1"), ("bert", "layer_4")
])  # fmt: skip
def test_first_and_last_layer_can_be_shared(case, label):
    net, gradients, batch, _, children, _ = make(case)
    number = int(label[-1])
    children = [{**child, label: children[0][label]} for child in children]
    found = gradients(label, children)
    wanted = expected(net, children, batch, lambda child: child.layers[number - 1].operator)
    assert_close(found, wanted)


class Doubling(ChainSpace):
    """A chain by its names, of which ``forward`` does more."""

    def forward(self, x, scale=None):
        return 2 * super().forward(x, scale)


class Broken(ChainSpace):
    def head(self, hidden, scale=None):
        if scale is None:
            raise ArithmeticError("no scale")
        return super().head(hidden)

    def forward(self, x, scale=None):
        for layer in [self.stem, *self.layers]:
            x = layer(x)
        return self.head(x, torch.ones(1))


@pytest.mark.parametrize(("space", "message"), [
    (Doubling, "it deviates by"), (Broken, "ArithmeticError: no scale"),
])  # fmt: skip
def test_chain_that_gives_something_else_is_run_whole(space, message, caplog):
    net, batch, children = trained(space), first(images(), 8), chain_children()
    gradients = SharedGradients(net, lightning(), [batch])
    with caplog.at_level(logging.WARNING):
        found = gradients("block_2", children)
        gradients("block_2", children)
    assert caplog.text.count(f"({message}") == 1
    assert_close(found, expected(net, children, batch, lambda child: child.layers[1].operator))


class Twice(Images):
    """Calls the model on two inputs, so that one answer does not fit both."""

    def training_step(self, batch, index):
        images, labels = batch
        return cross_entropy(self.model(images) + self.model(images.flip(0)), labels)


class InPlace(ChainSpace):
    """Layers that change the hidden state before them in place."""

    def __init__(self):
        super().__init__()
        for layer in self.layers:
            layer.register_forward_pre_hook(lambda module, inputs: inputs[0].relu_())


@pytest.mark.parametrize(("space", "module"), [(ChainSpace, Twice), (InPlace, Images)])
def test_gradients_of_unusual_steps(space, module, caplog):
    net, (x, y), children = trained(space), first(images(), 8), chain_children()
    found = SharedGradients(net, lightning(module()), [[x, y]])("block_2", children)
    assert ("run whole" in caplog.text) == (module is Twice)

    def output(child):
        return child(x) + child(x.flip(0)) if module is Twice else child(x.clone())

    for row, sample in zip(found, children, strict=True):
        child = copy.deepcopy(net.freeze(sample)).eval()
        for norm in child.modules():
            if isinstance(norm, nn.BatchNorm2d):
                norm.train()
        weights = list(child.layers[1].operator.parameters())
        wanted = torch.autograd.grad(cross_entropy(output(child), y), weights)
        assert_close(row, torch.cat([g.flatten() for g in wanted]).double())


def test_nested_choices_count_as_weights_of_their_candidate():
    net, batch, children = trained(NestedSpace), first(rows(), 8), nested_children()
    found = SharedGradients(net, lightning(Rows()), [batch])("outer", children)
    used = found.reshape(3, 3, -1).abs().sum(2) > 0  # by children and inner candidates
    assert used.tolist() == [[False, True, False], [False, True, False], [False, False, True]]
    for row, sample in zip(found, children, strict=True):
        wanted = gradient_by_hand(net, sample, batch, lambda child: child.outer)
        assert_close(row[row != 0], wanted[wanted != 0])


class TwoCells(CellSpace):
    """Two cells of one label, one behind the other, as NNI's hub has them."""

    def __init__(self, factories):
        super().__init__(factories)
        self.second = copy.deepcopy(self.cell)

    def forward(self, x):
        between = sum(self.cell(self.stem(x)).chunk(2, dim=1))
        return self.head(self.second(between).mean((2, 3)))


def cell_child(op_1="conv", op_2="conv", input_2=1):
    return {"cell/op_1_0": op_1, "cell/input_1_0": [0],
            "cell/op_2_0": op_2, "cell/input_2_0": [input_2]}  # fmt: skip


@pytest.mark.parametrize("factories", [True, False])
@pytest.mark.parametrize("space", [CellSpace, TwoCells])
@pytest.mark.parametrize(("label", "children"), [
    ("cell/op_1_0", [cell_child(), cell_child(op_2="skip"), cell_child(input_2=0)]),
    ("cell/op_2_0", [cell_child(), cell_child(op_1="skip")]),
    ("cell/op_2_0", [cell_child(input_2=0), cell_child("skip", input_2=0)]),
])  # fmt: skip
def test_gradients_of_an_operator_in_a_cell(space, factories, label, children):
    net, (x, y) = trained(lambda: space(factories)), first(images(), 8)
    found = SharedGradients(net, lightning(), [[x, y]])(label, children)
    node = int(label.split("_")[1])
    for row, child in zip(found, children, strict=True):
        set_path(net, child)
        place = child[f"cell/input_{node}_0"][0] if factories else 0
        cells = [cell for cell in net.children() if hasattr(cell, "ops")]
        weights = [p for cell in cells for p in cell.ops[node - 1][place]["conv"].parameters()]
        wanted = torch.autograd.grad(cross_entropy(net(x), y), weights)
        assert_close(row, torch.cat([g.flatten() for g in wanted]).double())
    assert not torch.allclose(found[0], found[1])


@pytest.mark.parametrize(("label", "children", "message"), [
    ("cell/op_2_0", [cell_child(), cell_child(input_2=0)],
     "share a candidate: 'conv' of 'cell/op_2_0' has other weights for every input of the cell"),
    ("cell/input_2_0", [cell_child()] * 2,
     r"accepted are the choice blocks \['cell/op_1_0', 'cell/op_2_0'\]"),
])  # fmt: skip
def test_operators_of_a_cell_that_are_not_shared(label, children, message):
    gradients = SharedGradients(trained(CellSpace), lightning(), [first(images(), 8)])
    with pytest.raises(ValueError, match=message):
        gradients(label, children)


@pytest.mark.parametrize("case", CHAINS)
def test_gradients_under_autocast(case):
    space, _, data, label, children, find = CASES[case]
    net, batch = trained(space), first(data(), 8)
    low = {"precision": "bf16-mixed"}
    evaluator = dict_evaluator(Watch(), **low) if case == "bert" else lightning(**low)
    found = SharedGradients(net, evaluator, [batch])(label, children())
    full = expected(net, children(), batch, find)
    with torch.autocast("cpu", torch.bfloat16):
        low = expected(net, children(), batch, find)
    assert (found - low).norm() < 0.1 * (full - low).norm()


def test_a_plain_space_is_copied():
    space, batch = ChainSpace(), first(images(), 8)
    found = SharedGradients(space, lightning(), [batch])("block_2", chain_children())
    wanted = expected(space, chain_children(), batch, lambda child: child.layers[1].operator)
    assert_close(found, wanted)


def test_frozen_weights_of_a_candidate_are_left_out():
    net, gradients, batch, label, children, find = make("chain")
    net.layers[1].operator["conv3"][0].weight.requires_grad_(False)
    wanted = expected(net, children, batch, find)
    assert_close(gradients(label, children), wanted[:, 4 * 4 * 9 :])


# Refusals


def ask(change=lambda c: c, label="block_2", module=None, mixed=False):
    space, children = (MixedSpace, mixed_children()) if mixed else (ChainSpace, chain_children())
    gradients = SharedGradients(trained(space), lightning(module), [first(images(), 8)])
    return gradients.similarity(label, change(children))


class Silent(Images):
    def training_step(self, batch, index):
        return cross_entropy(self.model(batch[0]).detach(), batch[1])


class Infinite(Images):
    """Not finite for the child that takes ``skip`` in the third block."""

    def training_step(self, batch, index):
        loss = super().training_step(batch, index)
        return loss * (float("inf") if self.model.layers[2].operator._sampled == "skip" else 1)


@pytest.mark.parametrize(("settings", "message"), [
    ({"label": "block_9"}, r"label is 'block_9'; accepted are the choice blocks \['block_1', "),
    ({"change": lambda c: varied(c[0], block_2=["conv3", "mha"])},
     r"the sample's 'block_2' is 'mha'; accepted are \['conv1', 'conv3'"),
    ({"change": lambda c: varied(c[0], block_2=["conv3", "conv1"])},
     r"children do not share a candidate: in 'block_2' they have \['conv3', 'conv1'\]"),
    ({"change": lambda c: c[:1]}, "children has length 1; accepted are lists of at least 2"),
    ({"change": lambda c: [{**child, "block_2": "skip"} for child in c]},
     "candidate 'skip' of 'block_2' has no weights to train"),
    ({"module": Infinite()},
     "gradient of 'conv3' in 'block_2' is not finite for the child .*'block_3': 'skip'"),
    ({"module": Silent()}, "gradient of 'conv3' in 'block_2' is zero, .* for the child {'block_1'"),
    ({"label": "op_3", "mixed": True},
     "choice block 'op_3' is not part of the child {'depth': 1"),
    ({"label": "depth", "mixed": True},
     r"label is 'depth'; accepted are the choice blocks \['op_1', 'op_2', 'op_3'\]"),
    ({"label": "op_1", "mixed": True,
      "change": lambda c: [c[0], {**c[0], "inputs": [0]}]},
     r"gradient of 'conv3' in 'op_1' is zero, .* for the child .*'inputs': \[0\]"),
])  # fmt: skip
def test_refusals(settings, message):
    with pytest.raises(ValueError, match=message):
        ask(**settings)


def test_execution_order_is_not_that_of_definition():
    class Reversed(SizedSpace):
        def forward(self, x):
            for block in reversed(self.blocks):
                x = block(x)
            return x

    gradients = SharedGradients(trained(Reversed), lightning(Rows()), [first(rows(), 8)])
    labels = [block.label for block in gradients.execution_order()]
    assert labels == ["block_4", "block_3", "block_2", "block_1"]
