"""The alignment term, against numpy and against a child run by hand."""

import itertools

import numpy as np
import pytest
import torch
from spaces import ConvSpace, FlatSpace, NestedSpace, set_path, supernet
from torch import nn

from nni_magic.losses.alignment import Alignment, alignment_loss
from nni_magic.losses.replay import CallReplay
from nni_magic.losses.targets import Target
from nni_magic.supernet.hidden_states import Call, recorded
from nni_magic.supernet.step import Step, Turn

IMAGES = torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(6)
CHILD = {"block_1": "conv3", "block_2": "conv1", "block_3": "skip", "block_4": "conv1"}
ANCHOR = {"block_1": "conv1", "block_2": "conv1", "block_3": "drop", "block_4": "conv3"}


# alignment_loss


def numpy_loss(target, states, mask=None):
    """Eq. 1 spelled out: element by element, padding left out of error and mean."""
    total = 0.0
    for name in states:
        a, b = target[name].double().numpy(), states[name].double().numpy()
        errors = []
        for index in np.ndindex(a.shape):
            if mask is None or mask[index[: mask.dim()]]:
                errors.append((a[index] - b[index]) ** 2)
        total += np.mean(errors) if errors else 0.0
    return total


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


# Alignment on a supernet


class Fixed(Target):
    """Always the same child."""

    ready = True

    def __init__(self, sample):
        self.sample = sample

    def renew(self):
        raise NotImplementedError

    def states(self, replay):
        return replay(self.sample)


class Run:
    """A supernet with its alignment, and a turn of a training step."""

    def __init__(self, net, names, target=ANCHOR, gradient=False, **kwargs):
        self.net = net.train()
        self.routed = []
        layers = {name: net.get_submodule(name) for name in names}
        self.replay = CallReplay(net, layers, self, gradient=gradient)
        self.alignment = Alignment(Fixed(target), weight=0.5, align_every=1, **kwargs)
        self.alignment.attach(self.replay)

    def set(self, sample):
        """Stands for the router."""
        self.routed.append(sample)
        set_path(self.net, sample)

    def observe(self, *args, child=CHILD, **kwargs):
        return self.observe_calls((args, kwargs), child=child)[-1]

    def observe_calls(self, *inputs, child=CHILD):
        set_path(self.net, child)
        with recorded(self.net, self.alignment.layers) as calls:
            outputs = [self.net(*args, **kwargs) for args, kwargs in inputs]
        turn = Turn(child)
        self.step = Step([turn], [torch.zeros(())], [calls])
        return outputs

    def term(self, *args, child=CHILD, **kwargs):
        self.observe(*args, child=child, **kwargs)
        return self.of_step()

    def of_step(self):
        return self.alignment(self.step, self.step.turns[-1])


def conv_run(names=("blocks.1", "blocks.3"), dropout=0.5, **kwargs):
    torch.manual_seed(0)
    return Run(supernet(ConvSpace(dropout=dropout)), names, **kwargs)


def hidden(net, sample, depth):
    """Hidden states by hand, behind every block; dropout is zero where this is used."""
    set_path(net, sample)
    x, found = net.stem(IMAGES), []
    for block in net.blocks[:depth]:
        found.append(x := block(x))
    return found


def buffers(net):
    return {name: buffer.clone() for name, buffer in net.named_buffers()}


def with_gradient(net):
    return {name for name, p in net.named_parameters() if p.grad is not None and p.grad.any()}


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


# replay


def test_replay_equals_a_training_pass_without_dropout():
    run = conv_run(names=("blocks.0", "blocks.3"), dropout=0.0)
    found = run.replay(Call((IMAGES,), {}), ANCHOR)
    expected = hidden(run.net, ANCHOR, 4)
    assert torch.equal(found["blocks.0"], expected[0])
    assert torch.equal(found["blocks.3"], expected[3])


def test_replay_uses_batch_statistics_and_writes_no_buffer():
    run = conv_run(dropout=0.0)
    for sample in (CHILD, ANCHOR):
        set_path(run.net, sample)
        for _ in range(3):
            run.net(5 * IMAGES + 3)
    before = buffers(run.net)
    found = run.replay(Call((IMAGES,), {}), ANCHOR)["blocks.3"]
    after = buffers(run.net)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert "blocks.0.conv1.1.num_batches_tracked" in before
    assert torch.equal(found, hidden(run.net, ANCHOR, 4)[3])
    run.net.eval()
    assert not torch.allclose(found, hidden(run.net, ANCHOR, 4)[3], atol=1e-3)


def test_replay_has_dropout_off_and_the_child_has_it_on():
    run = conv_run(names=("blocks.2",), dropout=0.3)  # not 0.5: (2x - x)^2 == (0 - x)^2
    call = Call((IMAGES,), {})
    first = run.replay(call, ANCHOR)["blocks.2"]
    assert torch.equal(first, run.replay(call, ANCHOR)["blocks.2"])
    assert run.term(IMAGES, child=ANCHOR).item() != run.term(IMAGES, child=ANCHOR).item()


def test_replay_draws_no_random_number():
    run = conv_run()
    state = torch.get_rng_state()
    run.replay(Call((IMAGES,), {}), ANCHOR)
    assert torch.equal(state, torch.get_rng_state())


def test_replay_makes_no_gradient_unless_asked_for():
    call = Call((IMAGES,), {})
    for gradient in (False, True):
        found = conv_run(gradient=gradient).replay(call, ANCHOR)
        assert {state.requires_grad for state in found.values()} == {gradient}
    with torch.no_grad():  # and does not leave gradients on or off behind it
        conv_run(gradient=True).replay(call, ANCHOR)
        assert not torch.is_grad_enabled()
    conv_run().replay(call, ANCHOR)
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("gradient", [False, True])
def test_replay_stops_behind_the_last_aligned_layer(gradient):
    run = conv_run(names=("blocks.0", "blocks.2"), gradient=gradient)
    ran = []
    for name, module in run.net.named_modules():
        module.register_forward_pre_hook(lambda *_, name=name: ran.append(name))
    run.replay(Call((IMAGES,), {}), ANCHOR)
    assert "blocks.2.drop" in ran
    assert not {name for name in ran if name.startswith(("blocks.3", "head"))}


def test_replay_restores_all_modes():
    run = conv_run()
    run.net.blocks[0].eval()
    modes = [module.training for module in run.net.modules()]
    run.replay(Call((IMAGES,), {}), ANCHOR)
    assert modes == [module.training for module in run.net.modules()]
    assert True in modes and False in modes


def test_replay_of_a_child_that_does_not_run_a_layer_raises():
    net = supernet(NestedSpace())
    run = Run(net, ["outer.nested.1"], target={"outer": "plain", "inner": 0, "tail": 0})
    nested = {"outer": "nested", "inner": 1, "tail": 0}
    with pytest.raises(
        ValueError, match=r"\['outer.nested.1'\] are not run by the child .*'plain'"
    ):
        run.term(torch.zeros(2, 4), child=nested)


# shapes


class Widths(FlatSpace):
    """A second block whose candidates give other widths: 4 or 2."""

    def __init__(self, n_blocks: int = 2, n_candidates: int = 2):
        super().__init__(n_blocks=n_blocks, n_candidates=n_candidates)
        self.blocks[1][1].weight = nn.Parameter(torch.zeros(2, 4))
        self.blocks[1][1].bias = None


def test_check_shapes_names_the_layer_and_both_shapes():
    run = Run(supernet(Widths()), ["blocks.0", "blocks.1"])
    call = Call((torch.zeros(3, 4),), {})
    children = [{"block_1": a, "block_2": b} for a, b in itertools.product((0, 1), repeat=2)]
    run.replay.check_shapes(call, [children[0], children[2]])
    with pytest.raises(ValueError, match=r"'blocks.1' gives shape \(3, 4\).* and \(3, 2\)"):
        run.replay.check_shapes(call, children)


def test_check_shapes_of_an_output_that_is_no_tensor_raises():
    class Pairs(FlatSpace):
        def forward(self, x):
            return self.head(super().forward(x))

    class Pair(nn.Module):
        def forward(self, x):
            return x, x

    net = supernet(Pairs(n_blocks=1))
    net.head = Pair()
    run = Run(net, ["head"])
    with pytest.raises(ValueError, match="output of aligned layer 'head' is a tuple"):
        run.replay.check_shapes(Call((torch.zeros(3, 4),), {}), [{"block_1": 0}])


# masks


class Masked(FlatSpace):
    """Takes a mask; ``(batch, seq, 4)``."""

    def forward(self, x, attention_mask=None, pad=None):
        return super().forward(x)


class Sequences(FlatSpace):
    """Takes any number of inputs by position, none of which is a mask."""

    def forward(self, *inputs):
        return super().forward(sum(inputs))


TOKENS = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(1))
MASK = torch.tensor([[1, 1, 0], [1, 0, 0]])
A, B = {"block_1": 0, "block_2": 0}, {"block_1": 1, "block_2": 2}


def masked_run(space=Masked, **kwargs):
    torch.manual_seed(0)
    return Run(supernet(space(n_blocks=2)), ["blocks.0", "blocks.1"], target=A, **kwargs)


def by_hand(net, mask, *args):
    found = []
    for sample in (A, B):
        set_path(net, sample)
        first = net.blocks[0](*args)
        found.append({"p": first.detach(), "q": net.blocks[1](torch.tanh(first)).detach()})
    return pytest.approx(numpy_loss(*found, mask), rel=1e-5)


def test_mask_by_keyword_and_by_position():
    run = masked_run()
    expected = by_hand(run.net, MASK, TOKENS)
    assert run.term(TOKENS, attention_mask=MASK, child=B).item() == expected
    assert run.term(TOKENS, MASK, child=B).item() == expected
    assert run.term(attention_mask=MASK, x=TOKENS, child=B).item() == expected


def test_mask_not_given_counts_every_position():
    run = masked_run()
    expected = by_hand(run.net, None, TOKENS)
    assert run.term(TOKENS, child=B).item() == expected
    assert run.term(TOKENS, None, child=B).item() == expected
    assert run.term(TOKENS, attention_mask=None, child=B).item() == expected


def test_mask_of_another_name():
    run = masked_run(mask_argument="pad")
    expected = by_hand(run.net, MASK, TOKENS)
    assert run.term(TOKENS, None, MASK, child=B).item() == expected
    assert run.term(TOKENS, torch.zeros(9, 9), pad=MASK, child=B).item() == expected


def test_mask_argument_none_counts_every_position():
    run = masked_run(mask_argument=None)
    assert run.term(TOKENS, MASK, child=B).item() == by_hand(run.net, None, TOKENS)


def test_mask_of_a_model_that_takes_none():
    run = masked_run(FlatSpace)
    assert run.term(TOKENS, child=B).item() == by_hand(run.net, None, TOKENS)


class AnyNames(FlatSpace):
    """Takes what it does not name, a mask perhaps."""

    def forward(self, x, **others):
        return super().forward(x)


def test_mask_of_a_name_that_only_the_call_knows():
    run = masked_run(AnyNames, mask_argument="pad")
    expected = by_hand(run.net, MASK, TOKENS)
    assert run.term(TOKENS, pad=MASK, child=B).item() == expected


@pytest.mark.parametrize(
    ("space", "name", "taken"),
    [
        (Masked, "atention_mask", r"\['x', 'attention_mask', 'pad'\]"),
        (FlatSpace, "pad", r"\['x'\]"),
        (Sequences, "inputs", r"\[\]"),
    ],
)
def test_mask_of_a_name_that_the_model_does_not_have_is_refused(space, name, taken):
    message = f"mask_argument is '{name}'; accepted are .* {taken} of {space.__name__}'s f.* None"
    with pytest.raises(ValueError, match=message):
        masked_run(space, mask_argument=name)


def test_mask_is_not_taken_from_inputs_of_any_number():
    run = masked_run(Sequences)
    expected = by_hand(run.net, None, TOKENS + MASK[..., None])
    assert run.term(TOKENS, MASK[..., None], child=B).item() == expected
