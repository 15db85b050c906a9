"""Another child's hidden states for the same inputs: which, and that they leave no trace."""

import itertools

import pytest
import torch
from alignments import ANCHOR, CHILD, IMAGES, Run, buffers, conv_run, hidden
from spaces import FlatSpace, NestedSpace, set_path, supernet
from torch import nn

from nni_magic.supernet.hidden_states import Call


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
            return {"x": x}

    net = supernet(Pairs(n_blocks=1))
    net.head = Pair()
    run = Run(net, ["head"])
    with pytest.raises(ValueError, match="output of aligned layer 'head' is a dict, neither a te"):
        run.replay.check_shapes(Call((torch.zeros(3, 4),), {}), [{"block_1": 0}])
