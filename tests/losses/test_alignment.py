"""The alignment term, against numpy and against a child run by hand."""

import numpy as np
import pytest
import torch
from alignments import (
    ANCHOR,
    CHILD,
    IMAGES,
    LABELS,
    Run,
    conv_run,
    hidden,
    numpy_loss,
    with_gradient,
)
from spaces import FlatSpace, supernet
from torch import nn

from nni_magic.losses.alignment import alignment_loss
from nni_magic.supernet.step import Step, Turn

# alignment_loss


def states(shape, seed, names=("p", "q")):
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=generator) for name in names}


@pytest.mark.parametrize("shape", [(4, 3), (2, 5, 3), (2, 3, 4, 4)])
def test_loss_is_the_sum_over_layers_of_the_mean_squared_error(shape):
    target, found = states(shape, 0), states(shape, 1)
    assert alignment_loss(target, found).item() == pytest.approx(numpy_loss(target, found))


@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.float32])
@pytest.mark.parametrize(
    "mask",
    [
        [[1, 1, 1, 0, 0], [1, 0, 0, 0, 0]],
        [[1, 1, 1, 1, 1], [1, 1, 1, 1, 1]],
        [[0, 0, 0, 0, 0], [0, 1, 0, 1, 0]],
        [[0, 0, 0, 0, 0], [0, 0, 0, 0, 0]],
    ],
)
@pytest.mark.parametrize("hidden", [(), (3,), (2, 3)])
def test_loss_with_mask_leaves_padding_out(mask, dtype, hidden):
    mask = torch.tensor(mask).to(dtype)
    target, found = states((2, 5, *hidden), 0), states((2, 5, *hidden), 1)
    expected = numpy_loss(target, found, mask)
    assert alignment_loss(target, found, mask).item() == pytest.approx(expected)
    for padded in (mask == 0).nonzero().tolist():
        found["p"][tuple(padded)] = 1e6  # whatever is there
    assert alignment_loss(target, found, mask).item() == pytest.approx(expected)


@pytest.mark.parametrize("mask", [None, torch.tensor([[1, 1, 0], [1, 0, 0]])])
def test_loss_of_a_layer_that_gives_several_tensors_is_their_mean(mask):
    target, found = states((2, 3, 4), 0), states((2, 3, 4), 1)
    expected = alignment_loss(target, found, mask) / 2
    pairs = [{"layer": [both["p"], both["q"]]} for both in (target, found)]
    assert alignment_loss(*pairs, mask).item() == pytest.approx(expected.item())


def test_loss_takes_a_mask_over_the_batch_alone():
    target, found = states((3, 4), 0), states((3, 4), 1)
    mask = torch.tensor([1, 0, 1])
    expected = numpy_loss(target, found, mask)
    assert alignment_loss(target, found, mask).item() == pytest.approx(expected)


def test_loss_of_equal_states_is_zero():
    target = states((2, 5, 3), 0)
    assert alignment_loss(target, target).item() == 0
    assert alignment_loss(target, target, torch.ones(2, 5)).item() == 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("mask", [None, torch.ones(2, 5)])
def test_loss_is_computed_in_float32(dtype, mask):
    target = {name: state.to(dtype) for name, state in states((2, 5, 3), 0).items()}
    found = {name: state.to(dtype) for name, state in states((2, 5, 3), 1).items()}
    loss = alignment_loss(target, found, mask)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(numpy_loss(target, found), rel=1e-5)


def test_loss_gradient_is_autograds_and_by_hand():
    target, found = states((2, 5, 3), 0), states((2, 5, 3), 1)
    mask = torch.tensor([[1, 1, 0, 0, 0], [1, 1, 1, 0, 0]])
    leaf = found["p"].requires_grad_()
    alignment_loss(target, found, mask).backward()
    by_hand = 2 * (leaf - target["p"]) * mask[..., None] / (mask.sum() * 3)
    torch.testing.assert_close(leaf.grad, by_hand.detach())


@pytest.mark.parametrize("shape", [(2, 4), (5, 2), (2, 5, 4), (2, 5, 3, 1)])
def test_loss_with_a_mask_of_another_shape_raises(shape):
    with pytest.raises(
        ValueError, match=r"mask has shape \(.*layer 'p' is \(2, 5, 3\).*mask_argument=None"
    ):
        alignment_loss(states((2, 5, 3), 0), states((2, 5, 3), 1), torch.ones(shape))


# The term on a supernet


def test_term_is_the_loss_between_the_childs_and_the_anchors_states():
    run = conv_run(dropout=0.0)
    found = run.term(IMAGES)
    child, anchor = hidden(run.net, CHILD, 4), hidden(run.net, ANCHOR, 4)
    expected = sum((child[n] - anchor[n]).square().mean() for n in (1, 3))
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def test_term_of_the_anchor_itself_is_zero_without_dropout():
    assert conv_run(dropout=0.0).term(IMAGES, child=ANCHOR).item() == 0
    assert conv_run(dropout=0.5).term(IMAGES, child=ANCHOR).item() > 0  # only the child's is on


def test_term_runs_the_target_and_no_other_child():
    run = conv_run()
    run.term(IMAGES)
    assert run.routed == [ANCHOR]


def test_term_is_of_the_last_turn():
    run = conv_run(dropout=0.0)
    expected = run.term(IMAGES).item()
    run.observe(2 * IMAGES)
    earlier = run.step.calls
    run.observe(IMAGES)
    run.step.calls = earlier + run.step.calls
    assert run.of_step().item() == pytest.approx(expected)


def test_term_gradient_reaches_the_child_only():
    run = conv_run()
    run.term(IMAGES).backward()
    reached = with_gradient(run.net)
    used_by_child = {"stem", "blocks.0.conv3", "blocks.1.conv1", "blocks.3.conv1"}
    assert {name.rsplit(".", 2)[0] for name in reached if "stem" not in name} == (
        used_by_child - {"stem"}
    )
    assert any(name.startswith("stem") for name in reached)
    only_anchors = ("blocks.0.conv1", "blocks.2.drop", "blocks.3.conv3")
    for name, parameter in run.net.named_parameters():
        if name.startswith((*only_anchors, "head")):
            assert parameter.grad is None, name


def test_term_gradient_is_that_of_a_fixed_target():
    """Shared operators (stem, blocks.1.conv1) get the child's part of the gradient alone."""
    run = conv_run(dropout=0.0)
    run.term(IMAGES).backward()
    found = {name: p.grad for name, p in run.net.named_parameters() if p.grad is not None}
    run.net.zero_grad()
    with torch.no_grad():
        anchor = hidden(run.net, ANCHOR, 4)
    child = hidden(run.net, CHILD, 4)
    sum((child[n] - anchor[n]).square().mean() for n in (1, 3)).backward()
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, run.net.get_parameter(name).grad)
    assert found


def test_term_gradient_reaches_the_anchor_when_asked_for():
    run = conv_run(gradient=True)
    run.term(IMAGES).backward()
    reached = {name.split(".weight")[0] for name in with_gradient(run.net) if "weight" in name}
    assert {"blocks.0.conv1.0", "blocks.2.drop.0.0", "blocks.3.conv3.0"} <= reached


def test_term_under_autocast_keeps_the_childs_gradient():
    run = conv_run(dropout=0.0)
    with torch.autocast("cpu", torch.bfloat16):
        output = run.observe(IMAGES)
        loss = nn.functional.cross_entropy(output, LABELS) + run.of_step()
    loss.backward()
    reached = with_gradient(run.net)
    for name in ("stem.weight", "blocks.0.conv3.0.weight", "blocks.1.conv1.0.weight"):
        assert name in reached


def test_term_averages_over_the_models_calls_of_a_step():
    run = conv_run(dropout=0.0)
    inputs = [IMAGES, IMAGES[:3], 2 * IMAGES]
    one_by_one = [run.term(x).item() for x in inputs]
    run.observe_calls(*(((x,), {}) for x in inputs))
    assert run.of_step().item() == pytest.approx(np.mean(one_by_one), rel=1e-5)


def test_term_leaves_out_what_other_terms_asked_for():
    run = conv_run(dropout=0.0)
    expected = run.term(IMAGES)
    run.step.calls[-1][-1].states["blocks.0"] = torch.ones(2)
    assert run.of_step() == expected


def test_term_of_states_changed_in_place_behind_their_layer_raises():
    """The anchor's pass stops at the layer, so its state would not be changed: no silent mix."""

    class InPlace(FlatSpace):
        def forward(self, x):
            for block in self.blocks:
                x = torch.relu_(block(x))
            return x

    torch.manual_seed(0)
    child = dict.fromkeys(["block_1", "block_2"], 0)
    run = Run(supernet(InPlace(n_blocks=2)), ["blocks.0", "blocks.1"], target=child)
    with pytest.raises(ValueError, match=r"'blocks.0' is changed in place.*inplace=False"):
        run.term(torch.randn(5, 4), child=child)


def test_term_without_a_call_of_the_model_raises():
    run = conv_run()
    run.step = Step([Turn(CHILD)], [torch.zeros(())], [[]])
    with pytest.raises(ValueError, match=r"did not call self\.model"):
        run.of_step()
