"""Which architecture parameters a mixture has, and what they say."""

import math

import pytest
import torch
from nni.nas.oneshot.pytorch.strategy import DARTS
from spaces import CellSpace, FlatSpace, MixedSpace

from nni_magic.strategies.differentiable.architecture import Architecture


def architecture(space):
    return Architecture(DARTS().mutate_model(space), lambda each: each.softmax(-1))


def test_every_choice_has_its_parameter_once():
    own = architecture(MixedSpace())
    sizes = {label: each.numel() for label, each in own.by_label.items()}
    assert sizes == {"op_1": 3, "op_2": 3, "op_3": 3, "depth": 3, "kernel": 3, "inputs": 3}
    assert architecture(CellSpace()).by_label.keys() == {"cell/1_0", "cell/2_0", "cell/2_1"}


def test_names_are_those_of_the_state_dict():
    space = MixedSpace()
    own = architecture(space)
    assert set(own.names) == {name for name in space.state_dict() if "_arch_alpha" in name}


def test_theta_and_its_summary_by_hand():
    own = architecture(FlatSpace(2, 2))
    with torch.no_grad():
        own.by_label["block_1"].copy_(torch.tensor([0.0, math.log(3)]))
        own.by_label["block_2"].zero_()
    assert own.theta()["block_1"].tolist() == pytest.approx([0.25, 0.75])
    entropies = [-(0.25 * math.log(0.25) + 0.75 * math.log(0.75)), math.log(2)]
    summary = own.summary()
    assert float(summary["entropy"]) == pytest.approx(sum(entropies) / 2)
    assert float(summary["largest"]) == pytest.approx((0.75 + 0.5) / 2)


def test_gradients_reach_the_parameters_in_the_block_alone():
    own = architecture(FlatSpace())
    own.require_gradient(False)
    with own.learning():
        assert all(each.requires_grad for each in own.parameters)
    assert not any(each.requires_grad for each in own.parameters)


def test_what_is_not_finite_is_named():
    own = architecture(FlatSpace(2, 2))
    fine = torch.zeros(2)
    assert own.not_finite([fine, None]) is None
    wrong = torch.tensor([0.0, math.inf])
    assert own.not_finite([fine, wrong]) == "the gradient of 'block_2' is [0.0, inf]"
    with torch.no_grad():
        own.by_label["block_1"].fill_(math.nan)
    assert own.not_finite([fine, fine]) == "the parameter of 'block_1' is [nan, nan]"
