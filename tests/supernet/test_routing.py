"""The router sets what changes and nothing else, and knows what it has set."""

import copy
import gc
import weakref
from collections import Counter

import pytest
import torch
from nni.mutable import Categorical
from nni.nas.nn.pytorch import LayerChoice, ModelSpace
from spaces import CellSpace, ConvSpace, FlatSpace, MixedSpace, set_path, supernet
from torch import nn

from nni_magic.samplers import UniformSampler
from nni_magic.supernet import routing
from nni_magic.supernet.routing import Router

CHILD = {"block_1": 0, "block_2": 1, "block_3": 2}


class SharedLabels(ModelSpace):
    """Two halves; ``both`` is chosen by a block of each half."""

    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(*(self.block(label) for label in ("both", "first")))
        self.second = nn.Sequential(*(self.block(label) for label in ("both", "second")))

    @staticmethod
    def block(label):
        return LayerChoice([nn.Linear(4, 4) for _ in range(3)], label=label)

    def forward(self, x):
        return self.second(self.first(x))


SHARED = {"both": 0, "first": 1, "second": 2}


@pytest.fixture
def resampled(monkeypatch):
    """Counts the calls of ``resample`` by the module's name in the net that is watched."""
    calls = Counter()

    def watch(net):
        for name, module in net.named_modules():
            if hasattr(module, "resample"):
                own = module.resample

                def noted(memo, name=name, own=own):
                    calls[name] += 1
                    return own(memo)

                monkeypatch.setattr(module, "resample", noted)
        return calls

    return watch


def path_of(net):
    """What every choice block of a net has been set to, by module name."""
    return {name: m._sampled for name, m in net.named_modules() if hasattr(m, "_sampled")}


def test_set_touches_only_modules_whose_choice_changes(resampled):
    net = supernet(FlatSpace())
    router, calls = Router(net), resampled(net)
    router.set(CHILD)
    assert calls == {"blocks.0": 1, "blocks.1": 1, "blocks.2": 1}
    calls.clear()
    router.set(dict(CHILD))
    assert calls == {}
    router.set({**CHILD, "block_2": 0})
    assert calls == {"blocks.1": 1}
    assert path_of(net) == {"blocks.0": 0, "blocks.1": 0, "blocks.2": 2}


def test_set_reaches_every_module_of_a_label(resampled):
    net = supernet(SharedLabels())
    router, calls = Router(net), resampled(net)
    router.set(SHARED)
    calls.clear()
    router.set({**SHARED, "both": 2})
    assert calls == {"first.0": 1, "second.0": 1}


def test_a_cell_of_many_labels_is_set_once(resampled):
    net = supernet(CellSpace())
    router, calls = Router(net), resampled(net)
    children = UniformSampler(net, seed=0)
    router.set(children.next())
    assert len(net.simplify()) > len(calls) > 0 and set(calls.values()) == {1}


@pytest.mark.parametrize("space", [FlatSpace, ConvSpace, MixedSpace, CellSpace])
def test_child_computes_what_a_path_set_by_hand_does(space):
    torch.manual_seed(0)
    net = supernet(space()).eval()
    router, sampler = Router(net), UniformSampler(net, seed=0)
    images = torch.randn(2, 4) if space is FlatSpace else torch.randn(2, 1, 8, 8)
    outputs = []
    for child in [sampler.next() for _ in range(8)]:
        router.set(child)
        outputs.append(net(images))
        set_path(net, child)
        assert torch.equal(outputs[-1], net(images))
        router.forget()  # the path was set by other code
    assert len({output.sum().item() for output in outputs}) > 1


def test_labels_that_no_module_chooses_by_are_passed_over():
    net = supernet(FlatSpace())
    Router(net).set({**CHILD, "elsewhere": 5})
    assert path_of(net) == {"blocks.0": 0, "blocks.1": 1, "blocks.2": 2}


def test_forget_sets_every_module_the_next_time(resampled):
    net = supernet(FlatSpace())
    router = Router(net)
    router.set(CHILD)
    set_path(net, {**CHILD, "block_3": 0})  # foreign code
    calls = resampled(net)
    router.set(CHILD)
    assert calls == {}
    router.forget()
    router.set(CHILD)
    assert calls == {"blocks.0": 1, "blocks.1": 1, "blocks.2": 1}
    assert path_of(net)["blocks.2"] == 2


def test_refresh_finds_modules_that_have_come(resampled):
    net = supernet(FlatSpace())
    router = Router(net)
    router.set(CHILD)
    other = supernet(FlatSpace()).blocks[0]
    net.blocks[0] = other
    calls = resampled(net)
    router.refresh(net)
    assert router.by_label["block_1"] == [other]
    router.set(CHILD)
    assert calls == {"blocks.0": 1, "blocks.1": 1, "blocks.2": 1}
    assert other._sampled == 0


# One for a supernet


def test_there_is_one_router_for_a_supernet():
    net, other = supernet(FlatSpace()), supernet(FlatSpace())
    assert Router.of(net) is Router.of(net)
    assert Router.of(net) is not Router.of(other)


def test_copy_of_a_supernet_has_a_router_of_its_own():
    net = supernet(FlatSpace())
    Router.of(net).set(CHILD)
    other = copy.deepcopy(net)
    assert Router.of(other) is not Router.of(net)
    set_path(other, {**CHILD, "block_1": 2})
    Router.of(other).set(CHILD)
    assert path_of(other) == path_of(net) == {"blocks.0": 0, "blocks.1": 1, "blocks.2": 2}


def test_space_that_becomes_a_supernet_later_gets_its_router_then():
    space = FlatSpace()
    assert Router.of(space).by_label == {}
    net = supernet(space)
    assert net is space
    assert set(Router.of(net).by_label) == set(CHILD)


def test_router_lives_as_long_as_its_supernet():
    net = supernet(FlatSpace())
    Router.of(net).set(CHILD)
    known, gone = len(routing._routers), weakref.ref(net)
    del net
    gc.collect()
    assert gone() is None
    assert len(routing._routers) < known


# Parts


def test_part_sets_its_modules_alone_and_the_router_knows(resampled):
    net = supernet(FlatSpace())
    router = Router(net)
    router.set(CHILD)
    part = router.part([net.blocks[1]])
    assert part.labels == ["block_2"]
    calls = resampled(net)
    part.set({"block_1": 2, "block_2": 2, "block_3": 0})
    assert calls == {"blocks.1": 1}
    assert path_of(net) == {"blocks.0": 0, "blocks.1": 2, "blocks.2": 2}
    router.set({**CHILD, "block_2": 2})  # where the path is
    assert calls == {"blocks.1": 1}
    router.set(CHILD)
    assert calls == {"blocks.1": 2}
    assert path_of(net)["blocks.1"] == 1


def test_label_that_a_part_shares_with_the_rest_is_set_again(resampled):
    net = supernet(SharedLabels())
    router = Router(net)
    router.set(SHARED)
    part = router.part([net.first])
    assert part.labels == ["both", "first"]
    part.set({**SHARED, "both": 1})
    assert path_of(net) == {"first.0": 1, "first.1": 1, "second.0": 0, "second.1": 2}
    calls = resampled(net)
    router.set({**SHARED, "both": 1})  # the second half is not there yet
    assert calls == {"first.0": 1, "second.0": 1}
    assert path_of(net)["second.0"] == 1


def test_part_finds_nested_modules_once():
    net = supernet(SharedLabels())
    part = Router(net).part([net.first, net.first[0], net])
    assert part.labels == ["both", "first", "second"]
    part.set(SHARED)
    assert path_of(net) == {"first.0": 0, "first.1": 1, "second.0": 0, "second.1": 2}


def test_part_without_choices_has_no_labels():
    net = supernet(FlatSpace())
    part = Router(net).part([net.head])
    part.set(CHILD)
    assert part.labels == []


def test_labels_are_those_of_the_space():
    space = MixedSpace()
    labels = {name for name, m in space.simplify().items() if isinstance(m, Categorical)}
    found = set(Router(supernet(space)).by_label)
    assert labels <= found <= set(UniformSampler(space, seed=0).candidates)
