"""ProxylessNAS: its gradient, its paths, and what is refused."""

from typing import NamedTuple

import pytest
import torch
from mixtures import SPACES, make, run
from nni.nas.nn.pytorch import InputChoice, LayerChoice, ModelSpace
from spaces import ConvSpace, FlatSpace
from torch import Tensor, nn

torch.set_num_threads(1)


def mixed(space):
    strategy = make("proxyless_nas")
    strategy.mutate_model(space)
    return strategy, strategy._gates


def test_gradient_of_a_gate_is_the_formula():
    torch.manual_seed(0)
    strategy, [gate] = mixed(FlatSpace(1, 3))
    [alpha] = strategy.architecture.parameters
    alpha.data.copy_(torch.tensor([0.5, -0.3, 1.0]))
    alpha.requires_grad_()
    gate.take(2)
    x, weight = torch.randn(2, 4), torch.randn(2, 4)
    output = gate(x)
    torch.testing.assert_close(output, gate[2](x))
    [found] = torch.autograd.grad((output * weight).sum(), alpha)
    theta = alpha.detach().softmax(0)
    gates = [(gate[j](x) * weight).sum().item() for j in range(3)]
    expected = [
        sum(gates[j] * float(theta[j]) * ((i == j) - float(theta[i])) for j in range(3))
        for i in range(3)
    ]
    assert found.tolist() == pytest.approx(expected, rel=1e-5)


class States(NamedTuple):
    hidden: Tensor
    mask: Tensor | None = None


class Masked(nn.Module):
    """Takes and gives more than tensors, as layers of text do."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, states, *, scale):
        hidden = self.linear(states.hidden) * scale
        if states.mask is not None:
            hidden = hidden * states.mask[:, None]
        return {"states": States(hidden, states.mask), "norm": hidden.norm(), "name": "masked"}


class NestedSpace(ModelSpace):
    def __init__(self):
        super().__init__()
        self.layer = LayerChoice([Masked() for _ in range(3)], label="layer")

    def forward(self, x):
        return self.layer(States(x), scale=2.0)["states"].hidden


def expected_gradient(alpha, of_gates):
    """By the softmax, with what the loss would be by the gates."""
    theta = alpha.detach().softmax(0).requires_grad_()
    values = torch.tensor(of_gates)
    return theta * (values - (theta * values).sum())


@pytest.mark.parametrize("mask", [None, torch.tensor([1, 0])])
def test_layers_may_take_and_give_more_than_tensors(mask):
    torch.manual_seed(0)
    strategy, [gate] = mixed(NestedSpace())
    [alpha] = strategy.architecture.parameters
    alpha.data.copy_(torch.tensor([0.5, -0.3, 1.0]))
    alpha.requires_grad_()
    gate.take(1)
    x, weight = torch.randn(2, 4, requires_grad=True), torch.randn(2, 4)
    given = States(x, mask)

    def loss(found):
        return (found["states"].hidden * weight).sum() + 3 * found["norm"]

    found, plain = gate(given, scale=2.0), gate[1](given, scale=2.0)
    assert found["name"] == "masked" and type(found["states"]) is States
    assert found["states"].mask is mask
    torch.testing.assert_close(found["states"].hidden, plain["states"].hidden)
    of_alpha, of_x = torch.autograd.grad(loss(found), (alpha, x))
    torch.testing.assert_close(of_x, torch.autograd.grad(loss(plain), x)[0])
    gates = [loss(gate[index](given, scale=2.0)).item() for index in range(3)]  # it is linear
    torch.testing.assert_close(of_alpha, expected_gradient(alpha, gates))


def test_inputs_may_be_more_than_tensors():
    class Chosen(ModelSpace):
        def __init__(self):
            super().__init__()
            self.choice = InputChoice(n_candidates=2, n_chosen=1, label="input")

    strategy, [gate] = mixed(Chosen())
    [alpha] = strategy.architecture.parameters
    alpha.requires_grad_()
    gate.take(1)
    inputs = [States(torch.randn(2, 4), torch.ones(2)) for _ in range(2)]
    found = gate(inputs)
    assert type(found) is States and torch.equal(found.hidden, inputs[1].hidden)
    [of_alpha] = torch.autograd.grad(found.hidden.sum(), alpha)
    gates = [each.hidden.sum().item() for each in inputs]
    torch.testing.assert_close(of_alpha, expected_gradient(alpha, gates))


def test_gradient_of_a_gate_is_of_the_precision_of_the_forward_pass():
    torch.manual_seed(0)
    strategy, [gate] = mixed(FlatSpace(1, 3))
    [alpha] = strategy.architecture.parameters
    alpha.requires_grad_()
    gate.take(2)
    x, weight = torch.randn(2, 4), torch.randn(2, 4).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        output = gate(x)
        outputs = [gate[j](x).detach() for j in range(3)]
    [found] = torch.autograd.grad((output * weight).sum(), alpha)  # as Lightning goes back
    gates = torch.stack([(each * weight).sum() for each in outputs]).float()
    theta = alpha.detach().softmax(0)
    expected = theta * (gates - (theta * gates).sum())
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("bilevel", [True, False])
def test_convolutions_are_trained_under_autocast(bilevel):
    strategy, watch = run(
        "proxyless_nas", "two", bilevel=bilevel, trainer={"epochs": 1, "precision": "bf16-mixed"}
    )
    assert len(watch.losses) == 6
    assert all(len(set(theta)) == 4 for theta in strategy.architecture.weights().values())


def test_step_of_the_weights_computes_one_path():
    _, [gate] = mixed(FlatSpace(1, 3))
    gate.take(1)
    calls = []
    for index in range(3):
        gate[index].register_forward_hook(lambda *_, index=index: calls.append(index))
    gate(torch.randn(2, 4)).sum().backward()
    assert calls == [1]


def test_paths_are_drawn_by_theta_and_told_by_the_step():
    strategy, [gate] = mixed(FlatSpace(1, 3))
    [alpha] = strategy.architecture.parameters
    alpha.data.copy_(torch.tensor([0.0, 1.0, -20.0]))
    at = type("T", (), {"global_step": 0})()
    module = type("M", (), {"seed": 3, "trainer": at})()

    def paths(n):
        for at.global_step in range(n):
            strategy.before_step(module)
            yield gate.path

    first = list(paths(1000))
    assert first[:50] == list(paths(50))
    expected = float(alpha.softmax(0)[1])
    assert first.count(1) / 1000 == pytest.approx(expected, abs=5 * 0.5 / 1000**0.5)
    assert 2 not in first


def test_evaluation_and_export_take_the_largest_weight():
    strategy, [gate] = mixed(FlatSpace(1, 3))
    [alpha] = strategy.architecture.parameters
    alpha.data.copy_(torch.tensor([0.0, 0.1, 0.0]))
    gate.take(0)
    x = torch.randn(2, 4)
    torch.testing.assert_close(gate.eval()(x), gate[1](x))
    assert gate.export({}) == {"block_1": 1}


def test_child_has_the_largest_weights():
    strategy, _ = run("proxyless_nas", "two", trainer={"epochs": 1})
    [model] = strategy.list_models()
    for label, theta in strategy.architecture.theta().items():
        assert model.sample[label] == ConvSpace.CANDIDATES[int(theta.argmax())]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("mixed", "'repeat' of MixedSpace is a Repeat; accepted by Proxyless are a LayerChoice"),
        ("cell", "'cell' of CellSpace is a Cell; accepted by Proxyless are a LayerChoice"),
    ],
)
def test_other_choices_are_refused(kind, message):
    with pytest.raises(ValueError, match=message):
        make("proxyless_nas").mutate_model(SPACES[kind]())
