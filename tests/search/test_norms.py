"""A BatchNorm that is run several times: one set of statistics in score, chain and child."""

import copy
import logging

import pytest
import torch
from nni.nas.evaluator.pytorch import DataLoader
from nni.nas.nn.pytorch import LayerChoice, ModelSpace
from scores import images, lightning, population, trained
from spaces import WIDTH, ChainSpace, set_path
from torch import nn
from torch.nn.functional import cross_entropy

from nni_magic.search import ChildEvaluator
from nni_magic.search.norms import share_norms
from nni_magic.supernet.chain import chain_of, single_step
from nni_magic.supernet.hidden_states import Call

TRAIN = images(40)


class Layer(nn.Module):
    """A choice block, and a norm in front of it and behind it."""

    def __init__(self, label, norm):
        super().__init__()
        operators = {f"conv{k}": nn.Conv2d(WIDTH, WIDTH, k, padding=k // 2) for k in (1, 3)}
        self.operator, self.norm = LayerChoice(operators, label=label), norm

    def forward(self, x):
        return self.norm(self.operator(self.norm(x))).relu()


class Repeated(ModelSpace):
    """A chain in which every layer runs its norm twice."""

    shared = False

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, WIDTH, 3)
        norms = [nn.BatchNorm2d(WIDTH) for _ in range(3)]
        if self.shared:
            norms = norms[:1] * 3
        self.layers = nn.ModuleList(Layer(f"block_{n}", norm) for n, norm in enumerate(norms, 1))
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(WIDTH, 10))

    def forward(self, x):
        x = self.stem(x)
        for layer in self.layers:
            x = layer(x)
        return self.head(x)


class Shared(Repeated):
    """All layers run the same norm, twice each."""

    shared = True


class Plain(Shared):
    """The same, and no chain."""

    def __init__(self):
        super().__init__()
        self.blocks = self.layers
        del self.layers

    def forward(self, x):
        x = self.stem(x)
        for layer in self.blocks:
            x = layer(x)
        return self.head(x)


class Methods(ModelSpace):
    """Stem and head are methods; each has a norm of its own, or both run the first."""

    both = False

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.last = nn.Conv2d(1, WIDTH, 3), *(
            nn.BatchNorm2d(WIDTH) for _ in range(2)
        )  # fmt: skip
        operators = {f"conv{k}": nn.Conv2d(WIDTH, WIDTH, k, padding=k // 2) for k in (1, 3)}
        self.layers = nn.ModuleList([LayerChoice(operators, label="block_1")])
        self.classifier = nn.Linear(WIDTH, 10)

    def stem(self, x):
        return self.norm(self.conv(x))

    def head(self, x):
        return self.classifier((self.norm if self.both else self.last)(x).mean((2, 3)))

    def forward(self, x):
        x = self.stem(x)
        for layer in self.layers:
            x = layer(x)
        return self.head(x)


class Both(Methods):
    both = True


def losses_averaged_by_hand(net, samples, evaluator, batches):
    """Statistics of every call noted one by one; their plain mean put into a copy's path."""
    losses = []
    for sample in samples:
        child = copy.deepcopy(net)
        set_path(child, sample)
        notes = {module: [] for module in child.modules() if isinstance(module, nn.BatchNorm2d)}

        def note(norm, inputs, notes=notes):
            x = inputs[0]
            notes[norm].append(torch.stack([x.mean((0, 2, 3)), x.var((0, 2, 3))]))

        hooks = [norm.register_forward_pre_hook(note) for norm in notes]
        with torch.no_grad():
            for x, _ in batches:
                child.train()(x)
            for hook in hooks:
                hook.remove()
            for norm, calls in notes.items():
                if calls:
                    norm.running_mean[:], norm.running_var[:] = torch.stack(calls).mean(0)
            child.eval()
            data = evaluator.val_dataloaders
            total = sum(cross_entropy(child(x), y, reduction="sum").item() for x, y in data)
        losses.append(total / len(data.dataset))
    return losses


@pytest.mark.parametrize(("space", "alone"), [
    (Repeated, False), (Shared, True), (Plain, False), (Methods, False), (Both, True),
])  # fmt: skip
def test_score_and_child_have_one_set_of_statistics(space, alone, caplog):
    caplog.set_level(logging.INFO)
    net, loader = trained(space), DataLoader(TRAIN, batch_size=16)
    evaluator = lightning(train=loader)
    children = population(net, 3)[:4]
    evaluate = ChildEvaluator(net, evaluator, calibration_batches=2)
    by_hand = losses_averaged_by_hand(net, children, evaluator, list(loader)[:2])
    assert evaluate(children) == pytest.approx(by_hand, rel=1e-5)
    assert [evaluate._scorer(child) for child in children] == pytest.approx(by_hand, rel=1e-5)
    assert (f"steps of {space.__name__} share a BatchNorm" in caplog.text) == alone
    for sample, score in zip(children, by_hand, strict=True):
        child, data = evaluate.child(sample).eval(), evaluator.val_dataloaders
        with torch.no_grad():
            total = sum(cross_entropy(child(x), y, reduction="sum").item() for x, y in data)
        assert total / 20 == pytest.approx(score, rel=1e-5)


@pytest.mark.parametrize(("space", "shared"), [
    (ChainSpace, False), (Repeated, False), (Shared, True), (Methods, False), (Both, True),
])  # fmt: skip
def test_steps_that_share_norms_are_found(space, shared):
    net = trained(space).eval()
    child, call = population(net, 1)[0], Call((torch.randn(2, 1, 8, 8),), {})
    hooks = [dict(module._forward_hooks) for module in net.modules()]
    assert share_norms(chain_of(net), [child], call) is shared
    assert hooks == [dict(module._forward_hooks) for module in net.modules()]
    assert not share_norms(single_step(net), [child], call)


class Writes(Both):
    """Its stem writes into its input."""

    def stem(self, x):
        return super().stem(x.mul_(3))


def test_children_whose_stem_writes_run_whole_with_one_set_of_statistics(caplog):
    caplog.set_level(logging.INFO)
    net, loader = trained(Writes), DataLoader(TRAIN, batch_size=16)
    evaluator, children = lightning(train=loader), population(net, 3)[:4]
    evaluate = ChildEvaluator(net, evaluator, calibration_batches=2)
    expected = [
        losses_averaged_by_hand(net, [child], evaluator, list(loader)[:2])[0] for child in children
    ]
    assert evaluate(children) == pytest.approx(expected, rel=1e-5)
    assert "the model writes into its inputs" in caplog.text
