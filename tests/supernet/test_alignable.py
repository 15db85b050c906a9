"""Which layers can be aligned by themselves, and what is in the way of the others."""

import pytest
import torch
from nni.nas.hub.pytorch import DARTS, AutoFormer, NasBench201
from nni.nas.nn.pytorch import LayerChoice, ModelSpace
from spaces import (
    CellSpace,
    ConvSpace,
    FlatSpace,
    MixedSpace,
    NestedSpace,
    WidthSpace,
    small_mobilenet,
    supernet,
)
from states import IMAGES, Reversed, assert_same, running
from torch import nn

from nni_magic.samplers import UniformSampler
from nni_magic.supernet.alignable import (
    CHANGED,
    LEFT_OUT,
    MASKED,
    NO_TENSOR,
    SHAPES,
    UNREAD,
    form_of,
    obstacles,
)
from nni_magic.supernet.hidden_states import Call
from nni_magic.supernet.layers import numbered_layers
from nni_magic.supernet.routing import Router

ROWS = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))


def against(space, *args, children=12, positions=()):
    """What is in the way of each layer, of some children."""
    torch.manual_seed(0)
    net = supernet(space)
    sampler, router, call = UniformSampler(net, seed=0), Router.of(net), Call(args, {})
    drawn = [sampler.next() for _ in range(children)]
    router.set(drawn[0])
    layers = numbered_layers(net, call)
    found = obstacles(net, layers, call, drawn, router, positions)
    return {name: found.get(name) for name in layers}


# What goes to the head


@pytest.mark.parametrize("space", [FlatSpace(4), FlatSpace(4, n_classes=3)])
def test_last_block_of_a_chain_is_left_out(space):
    found = against(space, ROWS)
    assert found == {"blocks.0": None, "blocks.1": None, "blocks.2": None, "blocks.3": UNREAD}


def test_last_is_the_last_that_runs():
    found = against(Reversed(n_blocks=3), ROWS)
    assert found == {"blocks.2": None, "blocks.1": None, "blocks.0": UNREAD}


class Residual(FlatSpace):
    """What each block adds goes to the head, and the last one's to nothing else."""

    def forward(self, x):
        for block in self.blocks:
            x = x + block(torch.tanh(x))
        return self.head(x)


class Heads(FlatSpace):
    """Two blocks beside each other behind the first, each with a head."""

    def forward(self, x):
        x = self.blocks[0](x)
        return self.blocks[1](x) + 1, self.blocks[2](x) * 2


def test_block_behind_a_residual_reads_the_block_before():
    found = against(Residual(3), ROWS)
    assert found == {"blocks.0": None, "blocks.1": None, "blocks.2": UNREAD}


def test_blocks_that_go_to_heads_are_all_left_out():
    assert against(Heads(3), ROWS) == {"blocks.0": None, "blocks.1": UNREAD, "blocks.2": UNREAD}


def test_block_that_a_skip_of_the_last_block_hands_on_is_read():
    """An identity gives out the very tensor that it is given."""
    found = against(ConvSpace(), IMAGES)
    assert [name for name, obstacle in found.items() if obstacle] == ["blocks.3"]


def test_frozen_weights_are_no_hindrance():
    assert against(FlatSpace(3).requires_grad_(False), ROWS)["blocks.1"] is None


# Other obstacles


class Written(FlatSpace):
    """Changes in place what the second block gives, and its own input."""

    def forward(self, x):
        x.mul_(2)
        first = self.blocks[0](x)
        second = self.blocks[1](first)
        return self.blocks[2](torch.relu_(second))


class Kinds(ModelSpace):
    """Its layers give a list, a dict, and a tensor."""

    def __init__(self):
        super().__init__()
        kinds = (lambda x: [x, 2 * x], lambda x: {"x": x}, lambda x: x)
        self.layers = nn.ModuleList(GivesKind(f"block_{n}", kind) for n, kind in enumerate(kinds))

    def hidden_layers(self):
        return list(self.layers)

    def forward(self, x):
        both = self.layers[0](x)
        return self.layers[2](self.layers[1](sum(both))["x"])


class GivesKind(nn.Module):
    """A choice block whose output is put into something else."""

    def __init__(self, label, kind):
        super().__init__()
        self.choice = LayerChoice([nn.Linear(4, 4), nn.Linear(4, 4)], label=label)
        self.kind = kind

    def forward(self, x):
        return self.kind(self.choice(x))


class Skipping(FlatSpace):
    """Leaves its second block out where the first one chose its first candidate."""

    def forward(self, x):
        first = self.blocks[0](x)
        skips = getattr(self.blocks[0], "_sampled", None) in (0, [0])
        return self.blocks[2](first if skips else self.blocks[1](first))


def test_output_that_is_changed_in_place_is_left_out():
    rows = ROWS.clone()
    found = against(Written(3), rows)
    assert found == {"blocks.0": None, "blocks.1": CHANGED, "blocks.2": UNREAD}
    assert torch.equal(rows, ROWS)


def test_list_of_tensors_can_be_aligned_and_a_dict_cannot():
    found = against(Kinds(), ROWS)
    assert found == {"layers.0": None, "layers.1": NO_TENSOR, "layers.2": UNREAD}


def test_layer_that_some_child_does_not_run_is_left_out():
    assert against(Skipping(3, 2), ROWS)["blocks.1"] == LEFT_OUT


def test_widths_are_left_out():
    assert against(WidthSpace(), IMAGES) == {"conv": SHAPES, "norm": SHAPES, "head": UNREAD}


# Spaces of all kinds


@pytest.mark.parametrize(("space", "able"), [
    (MixedSpace(), ["repeat", "conv"]),
    (CellSpace(), []),
    (CellSpace(factories=False), ["cell.ops.0.0", "cell.inputs.0.0", "cell.inputs.1.0"]),
    (ConvSpace(), ["blocks.0", "blocks.1", "blocks.2"]),
], ids=["mixed", "cell", "cell of choices", "conv"])  # fmt: skip
def test_spaces_of_choices(space, able):
    found = against(space, IMAGES, children=30)
    assert sorted(name for name, obstacle in found.items() if obstacle is None) == sorted(able)


def test_nested_blocks():
    assert against(NestedSpace(), ROWS) == {"outer": None, "tail": UNREAD}


def test_cells_of_darts_give_lists_that_can_be_aligned():
    found = against(DARTS(width=4, num_cells=4, dataset="cifar"), torch.randn(2, 3, 16, 16),
                    children=3)  # fmt: skip
    assert list(found.values()) == [None, None, None, UNREAD]


def test_nodes_of_a_cell_that_go_to_the_head_are_left_out():
    found = against(NasBench201(stem_out_channels=4, num_modules_per_stack=1),
                    torch.randn(2, 3, 8, 8), children=3)  # fmt: skip
    unread = [name for name, obstacle in found.items() if obstacle == UNREAD]
    assert unread == ["cells.4.layers.2.0", "cells.4.layers.2.1", "cells.4.layers.2.2"]


def test_autoformer_of_several_widths_has_none_and_of_one_width_all():
    def small(*widths):
        return AutoFormer(
            widths, (1.0, 2.0), (2, 3), (2, 3), img_size=16, patch_size=4, num_labels=10
        )

    images = torch.randn(2, 3, 16, 16)
    assert set(against(small(32, 48), images).values()) == {SHAPES, UNREAD}
    found = against(small(32), images)
    assert set(found.values()) == {None, UNREAD}


def test_mobilenet_of_several_widths_has_none():
    found = against(small_mobilenet(), torch.randn(2, 3, 32, 32))
    assert set(found.values()) == {SHAPES, CHANGED, UNREAD}


# Padding


@pytest.mark.parametrize(("positions", "fits"), [((3,), True), ((3, 4), True), ((3, 2), False)])
def test_shape_has_to_begin_with_that_of_the_mask(positions, fits):
    found = against(FlatSpace(4), ROWS, positions=positions)
    assert found["blocks.0"] == (None if fits else MASKED)


# It leaves no trace


def test_nothing_is_left_behind():
    torch.manual_seed(0)
    net = supernet(ConvSpace())
    net.train()
    net.blocks[1].eval()
    sampler, router, call = UniformSampler(net, seed=0), Router.of(net), Call((IMAGES,), {})
    children = [sampler.next() for _ in range(4)]
    router.set(children[0])
    before, modes = running(net), [module.training for module in net.modules()]
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in net.modules()]
    with torch.no_grad():
        obstacles(net, numbered_layers(net, call), call, children, router)
        assert not torch.is_grad_enabled()
    assert_same(before, running(net))
    assert modes == [module.training for module in net.modules()]
    assert hooks == [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in net.modules()]
    assert all(parameter.grad is None for parameter in net.parameters())


@pytest.mark.parametrize(("output", "form"), [
    (torch.zeros(2, 3), (2, 3)), ([torch.zeros(2), torch.zeros(3, 1)], [(2,), (3, 1)]),
    ((torch.zeros(2),), [(2,)]), ([], None), ([torch.zeros(1), 2], None), ({}, None), (None, None),
])  # fmt: skip
def test_form_of_an_output(output, form):
    assert form_of(output) == form
