"""A supernet in parts: which part runs a child, with which weights, and what is made of it."""

import pytest
import torch
from spaces import ConvSpace, FlatSpace, MixedSpace, WidthSpace
from walks import every, key

from nni_magic.children.samples import candidates
from nni_magic.supernet.conversion import to_supernet
from nni_magic.supernet.parted import PartedSupernet, with_parts_of
from nni_magic.supernet.routing import Router
from nni_magic.support.compat import freeze

GROUPS = [["conv1", "skip"], ["conv3", "drop"]]
X = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def parted(make=ConvSpace, n_parts=2):
    torch.manual_seed(0)
    return PartedSupernet(to_supernet(make()), n_parts)


def shifted_apart(net):
    """Gives every part other weights."""
    with torch.no_grad():
        for n, part in enumerate(net.parts):
            for weight in part.parameters():
                weight.add_(0.1 * n)
    return net


def split():
    net = parted()
    net.split("block_2", GROUPS)
    return shifted_apart(net).eval()


@pytest.mark.parametrize("make", [ConvSpace, FlatSpace, MixedSpace])
def test_choices_are_those_of_the_space(make):
    assert candidates(parted(make)) == candidates(make())
    assert parted(make).contains(next(every(candidates(make()))))


def test_before_the_split_the_first_part_runs_all_children():
    net = shifted_apart(parted().eval())
    for child in list(every(candidates(net)))[::17]:
        Router.of(net).set(child)
        Router.of(net.parts[0]).set(child)
        assert torch.equal(net(X), net.parts[0](X))


def test_after_the_split_the_part_that_holds_a_child_runs_it():
    net, seen = split(), set()
    for child in list(every(candidates(net)))[::17]:
        expected = 0 if child["block_2"] in GROUPS[0] else 1
        assert net.part_of(child) == expected
        Router.of(net).set(child)
        outputs = net(X)
        assert torch.equal(outputs, net.parts[expected](X))
        assert not torch.equal(outputs, net.parts[1 - expected](X))
        seen.add(expected)
    assert seen == {0, 1}


def test_parts_continue_from_the_weights_of_the_first():
    net = shifted_apart(parted(n_parts=3))
    before = {name: value.clone() for name, value in net.parts[0].state_dict().items()}
    net.split("block_2", [["conv1"], ["conv3"], ["skip", "drop"]])
    for part in net.parts:
        for name, value in part.state_dict().items():
            assert torch.equal(value, before[name])
    with torch.no_grad():
        next(net.parts[1].parameters()).add_(1)
    assert torch.equal(next(net.parts[0].parameters()), next(iter(before.values())))


def test_frozen_child_is_that_of_its_part():
    net = split()
    for child in list(every(candidates(net)))[::23]:
        Router.of(net).set(child)
        torch.testing.assert_close(net.freeze(child).eval()(X), net(X))


def test_child_with_operations_of_variable_shape_is_frozen():
    net = PartedSupernet(to_supernet(WidthSpace()), 2).eval()
    net.split("width", [[2], [4, 6]])
    images = torch.randn(3, 1, 8, 8)
    for width in (2, 4, 6):
        Router.of(net).set({"width": width})
        torch.testing.assert_close(freeze(net, {"width": width}).eval()(images), net(images))


def test_state_brings_parts_and_split_along():
    net = split()
    weights = net.state_dict()
    again = with_parts_of(to_supernet(ConvSpace()), weights)
    again.load_state_dict(weights)
    for child in list(every(candidates(net)))[::31]:
        assert again.part_of(child) == net.part_of(child), key(child)
    plain = to_supernet(ConvSpace())
    assert with_parts_of(plain, plain.state_dict()) is plain
