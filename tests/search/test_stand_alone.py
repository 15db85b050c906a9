"""Steps as stand-alone children have them: their ways, and what they compute."""

import itertools

import pytest
import torch
from nni.nas.hub.pytorch import ProxylessNAS
from nni.nas.nn.pytorch import InputChoice, LayerChoice, ModelSpace
from nni.nas.oneshot.pytorch.supermodule.base import BaseSuperNetModule
from spaces import ChainSpace, ConvSpace, FlatSpace, supernet
from torch import nn

from nni_magic.search.stand_alone import own_copy, stand_alone_child, stand_alone_steps
from nni_magic.supernet.hidden_states import Call

CPU = torch.device("cpu")
IMAGES = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
CHILD = {"block_1": "conv3", "block_2": "drop", "block_3": "skip", "block_4": "conv1"}


def test_steps_are_stem_layers_and_head_with_their_labels():
    steps = stand_alone_steps(ChainSpace())
    assert [list(step.candidates) for step in steps] == [
        [], ["block_1"], ["block_2"], ["block_3"], ["block_4"], [],
    ]  # fmt: skip
    choices = ChainSpace().simplify()["block_2"].values
    assert steps[2].ways() == [{"block_2": choice} for choice in choices]
    assert steps[0].ways() == [{}]


def test_ways_of_a_step_of_several_labels_change_the_last_one_fastest():
    steps = stand_alone_steps(ProxylessNAS(10, width_mult=0.25))
    [*_, step] = [step for step in steps if "s3_depth" in step.candidates]
    depths, operators = step.candidates.values()
    assert [tuple(way.values()) for way in step.ways()] == list(
        itertools.product(depths, operators)
    )


def test_one_step_behind_the_other_computes_what_the_child_does():
    space = ChainSpace().eval()
    expected = space.freeze(CHILD).eval()(IMAGES)
    own, state = own_copy(space), Call((IMAGES,), {})
    for step in stand_alone_steps(own):
        run = step.stand_alone(own, CHILD, CPU)
        state = run(state, **step.step.given(Call((IMAGES,), {})))
    torch.testing.assert_close(state, expected)


def test_child_is_in_evaluation_mode_and_no_supernet():
    child = stand_alone_child(own_copy(ChainSpace()), CHILD, CPU)
    assert not any(module.training for module in child.modules())
    assert not any(isinstance(module, BaseSuperNetModule) for module in child.modules())


def test_copy_shares_no_weights_and_a_supernet_is_refused():
    space = ChainSpace()
    theirs = {parameter.data_ptr() for parameter in space.parameters()}
    assert not theirs & {parameter.data_ptr() for parameter in own_copy(space).parameters()}
    with pytest.raises(ValueError, match="ChainSpace is a supernet already"):
        own_copy(supernet(space))


# Spaces without such steps


def test_space_that_is_no_chain_is_named():
    message = "ConvSpace is no chain: a latency table needs a space with stem, layers and head"
    with pytest.raises(ValueError, match=message):
        stand_alone_steps(ConvSpace())


class AsideSpace(ModelSpace):
    """A chain with choices that are in none of its steps, or whose choices are lists."""

    def __init__(self, choice):
        super().__init__()
        self.stem, self.head = nn.Identity(), nn.Identity()
        self.layers = nn.ModuleList([nn.Identity()])
        self.aside = choice()


@pytest.mark.parametrize(("choice", "message"), [
    (lambda: LayerChoice([nn.Identity(), nn.ReLU()], label="aside"),
     r"AsideSpace has choices outside of its chain's steps: \['aside'\]"),
    (lambda: InputChoice(3, n_chosen=2, label="several"),
     r"AsideSpace has labels whose choices are lists, which no table has: \['several'\]"),
])  # fmt: skip
def test_choices_that_no_table_has_are_named(choice, message):
    with pytest.raises(ValueError, match=message):
        stand_alone_steps(AsideSpace(choice))


def test_step_with_too_many_ways_is_named():
    space = AsideSpace(nn.Identity)
    space.layers.append(nn.Sequential(*FlatSpace(7, 3).blocks))
    with pytest.raises(ValueError, match=r"step 2 of AsideSpace can be run in 2187 ways.*1024"):
        stand_alone_steps(space)
