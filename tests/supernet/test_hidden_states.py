"""Hidden states of a child, and the replay of a call on another child's path."""

import copy

import pytest
import torch
from spaces import FlatSpace, supernet
from states import IMAGES, assert_same, conv_net, running
from torch import nn

from nni_magic.supernet.hidden_states import (
    as_anchor,
    capture_call,
    hooked,
    recorded,
)

# capture_call


def test_capture_call_gives_the_inputs_and_runs_nothing_of_the_model():
    net = conv_net()
    entered, ran, after = [], [], []
    for module in net.modules():
        module.register_forward_hook(lambda *_: ran.append(1))

    def step():
        entered.append(1)
        net(IMAGES)
        after.append(1)

    call = capture_call(net, step)
    assert call.args[0] is IMAGES
    assert call.kwargs == {}
    assert (entered, ran, after) == ([1], [], [])


def test_capture_call_gives_arguments_by_name_and_only_of_the_first_call():
    net = supernet(FlatSpace())
    first, second = torch.zeros(1, 4), torch.ones(1, 4)
    call = capture_call(net, lambda: (net(x=first), net(second)))
    assert call.args == ()
    assert call.kwargs["x"] is first


def test_capture_call_of_a_step_without_the_model_raises():
    with pytest.raises(ValueError, match=r"does not call self\.model"):
        capture_call(conv_net(), lambda: None)


def test_capture_call_lets_errors_through_and_leaves_no_hook():
    net = conv_net()

    def step():
        raise KeyError("a batch without labels")

    with pytest.raises(KeyError, match="without labels"):
        capture_call(net, step)
    capture_call(net, lambda: net(IMAGES))
    assert net(IMAGES).shape == (6, 10)


# hooked


def test_hooked_collects_the_layers_outputs():
    net = conv_net().eval()
    states = {}
    with hooked({"a": net.blocks[0], "b": net.head}, states, stop=False):
        output = net(IMAGES)
    assert torch.equal(states["a"], net.blocks[0](net.stem(IMAGES)))
    assert torch.equal(states["b"], output)


def test_hooked_keeps_the_first_output_of_a_layer_that_runs_twice():
    layer, states = nn.Linear(4, 4), {}
    x = torch.randn(2, 4)
    with hooked({"a": layer}, states, stop=False):
        first = layer(x)
        layer(first)
    assert torch.equal(states["a"], first)


def test_hooked_stops_behind_the_last_layer_and_not_before():
    net = conv_net()
    ran = []
    for name, module in net.named_modules():
        module.register_forward_pre_hook(lambda *_, name=name: ran.append(name))
    states = {}
    with hooked({"b": net.blocks[2], "a": net.blocks[0]}, states, stop=True):
        net(IMAGES)
        ran.append("behind the call")
    assert set(states) == {"a", "b"}
    assert "blocks.2" in ran
    assert not {"blocks.3", "head", "behind the call"} & set(ran)


def test_hooked_removes_its_hooks_and_lets_errors_through():
    net = conv_net()
    states = {}
    with (
        pytest.raises(ZeroDivisionError, match="division"),
        hooked({"a": net.blocks[0]}, states, stop=True),
    ):
        _ = 1 / 0
    assert net(IMAGES).shape == (6, 10)
    assert states == {}


def test_hooked_is_not_stopped_by_code_that_catches_exceptions():
    class Careful(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x):
            try:
                return self.layer(x)
            except Exception:
                return "caught"

    model, states, got = Careful(), {}, []
    with hooked({"a": model.layer}, states, stop=True):
        got.append(model(torch.zeros(1, 4)))
    assert got == []
    assert "a" in states


# as_anchor


def test_as_anchor_uses_batch_statistics_and_writes_no_buffer():
    net = conv_net(dropout=0.0).train()
    with torch.no_grad():
        for _ in range(3):
            net(3 * IMAGES + 1)  # running statistics far from the batch's
    before = running(net)
    with as_anchor(list(net.modules())), torch.no_grad():
        found = net(IMAGES)
    assert_same(before, running(net))
    expected = net(IMAGES)
    assert torch.equal(found, expected)
    assert not torch.allclose(found, copy.deepcopy(net).eval()(IMAGES), atol=1e-3)
    assert any(not torch.equal(before[name], after) for name, after in running(net).items())


def test_as_anchor_turns_dropout_off():
    net = conv_net(dropout=0.9).train()
    with as_anchor(list(net.modules())):
        assert torch.equal(net(IMAGES), net(IMAGES))
    assert not torch.equal(net(IMAGES), net(IMAGES))


def test_as_anchor_leaves_frozen_norms_in_evaluation_mode():
    norm = nn.BatchNorm1d(4).eval()
    norm.running_mean += 5
    x = torch.randn(8, 4)
    expected = norm(x)
    with as_anchor([norm]):
        assert torch.equal(norm(x), expected)


def test_as_anchor_restores_every_mode_even_after_an_error():
    net = conv_net().train()
    net.blocks[1].eval()
    net.blocks[3].conv1[1].track_running_stats = False
    modes = [(m.training, getattr(m, "track_running_stats", None)) for m in net.modules()]
    with pytest.raises(KeyError, match="lost"), as_anchor(list(net.modules())):
        raise KeyError("lost")
    assert modes == [(m.training, getattr(m, "track_running_stats", None)) for m in net.modules()]


@pytest.mark.parametrize("norm", [nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d])
@pytest.mark.parametrize("momentum", [0.1, None])
def test_as_anchor_leaves_every_batchnorm_alone(norm, momentum):
    shape = {nn.BatchNorm1d: (5, 3), nn.BatchNorm2d: (5, 3, 2, 2), nn.BatchNorm3d: (5, 3, 2, 2, 2)}
    norm_ = norm(3, momentum=momentum)
    x = torch.randn(shape[norm])
    norm_(x + 7)
    before = running(norm_)
    with as_anchor([norm_]):
        found = norm_(x)
    assert_same(before, running(norm_))
    assert torch.equal(found, norm_(x))


def test_as_anchor_leaves_an_instance_norm_alone():
    norm = nn.InstanceNorm1d(3, track_running_stats=True)
    x = torch.randn(5, 3, 7)
    norm(x + 7)
    before = running(norm)
    with as_anchor([norm]):
        found = norm(x)
    assert_same(before, running(norm))
    assert torch.equal(found, norm(x))


# recorded


def test_recorded_gives_every_call_with_its_states():
    net = conv_net().eval()
    with recorded(net, {"blocks.1": net.blocks[1]}) as calls:
        net(IMAGES)
        net(x=2 * IMAGES)
    assert [len(call.args) for call in calls] == [1, 0]
    assert torch.equal(calls[0].args[0], IMAGES)
    assert [list(call.kwargs) for call in calls] == [[], ["x"]]
    for call, x in zip(calls, (IMAGES, 2 * IMAGES), strict=True):
        expected = net.blocks[1](net.blocks[0](net.stem(x)))
        assert torch.equal(call.states["blocks.1"], expected)
        assert call.states["blocks.1"].requires_grad


def test_recorded_leaves_no_hook():
    net = conv_net()
    with recorded(net, {"blocks.1": net.blocks[1]}) as calls:
        pass
    net(IMAGES)
    assert calls == []
