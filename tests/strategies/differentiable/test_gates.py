"""Gates of a choice: what they give, the gradient of their architecture, and what is refused."""

from collections import UserDict
from typing import NamedTuple

import pytest
import torch
from gates import mixed, opened
from nni.nas.nn.pytorch import InputChoice, LayerChoice, ModelSpace
from spaces import FlatSpace
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

torch.set_num_threads(1)


def test_gradient_of_a_gate_is_the_formula():
    torch.manual_seed(0)
    _, gate, alpha = opened(FlatSpace(1, 3), 2, [0.5, -0.3, 1.0])
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
    _, gate, alpha = opened(NestedSpace(), 1, [0.5, -0.3, 1.0])
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

    _, gate, alpha = opened(Chosen(), 1)
    inputs = [States(torch.randn(2, 4), torch.ones(2)) for _ in range(2)]
    found = gate(inputs)
    assert type(found) is States and torch.equal(found.hidden, inputs[1].hidden)
    [of_alpha] = torch.autograd.grad(found.hidden.sum(), alpha)
    gates = [each.hidden.sum().item() for each in inputs]
    torch.testing.assert_close(of_alpha, expected_gradient(alpha, gates))


def test_gradient_of_a_gate_is_of_the_precision_of_the_forward_pass():
    torch.manual_seed(0)
    _, gate, alpha = opened(FlatSpace(1, 3), 2)
    x, weight = torch.randn(2, 4), torch.randn(2, 4).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        output = gate(x)
        outputs = [gate[j](x).detach() for j in range(3)]
    [found] = torch.autograd.grad((output * weight).sum(), alpha)  # as Lightning goes back
    gates = torch.stack([(each * weight).sum() for each in outputs]).float()
    theta = alpha.detach().softmax(0)
    expected = theta * (gates - (theta * gates).sum())
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)


def test_step_of_the_weights_computes_one_path():
    _, [gate] = mixed(FlatSpace(1, 3))
    gate.path = 1
    calls = []
    for index in range(3):
        gate[index].register_forward_hook(lambda *_, index=index: calls.append(index))
    gate(torch.randn(2, 4)).sum().backward()
    assert calls == [1]


def test_evaluation_and_export_take_the_largest_weight():
    strategy, [gate] = mixed(FlatSpace(1, 3))
    [alpha] = strategy.architecture.parameters
    alpha.data.copy_(torch.tensor([0.0, 0.1, 0.0]))
    gate.path = 0
    x = torch.randn(2, 4)
    torch.testing.assert_close(gate.eval()(x), gate[1](x))
    assert gate.export({}) == {"block_1": 1}


class Written(nn.Module):
    """Writes into what it is given."""

    def __init__(self, factor):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))

    def forward(self, x):
        return x.relu_() * self.factor


class WrittenSpace(ModelSpace):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.layer = LayerChoice([Written(2.0), nn.Linear(4, 4), Written(3.0)], label="layer")

    def forward(self, x):
        return self.layer(self.first(x))


@pytest.mark.parametrize("path", [0, 1, 2])
def test_candidates_and_what_is_behind_may_write_into_what_they_are_given(path):
    torch.manual_seed(0)
    strategy, gate, alpha = opened(WrittenSpace(), path, [0.5, -0.3, 1.0])
    x, weight = torch.randn(2, 4), torch.randn(2, 4)
    linear = strategy.mixture.first.weight
    output = strategy.mixture(x).relu_()
    of_alpha, of_linear = torch.autograd.grad((output * weight).sum(), (alpha, linear))
    alone = [gate[j](strategy.mixture.first(x)) for j in range(3)]
    behind = weight * (alone[path] > 0)
    gates = [(each * behind).sum().item() for each in alone]
    torch.testing.assert_close(of_alpha, expected_gradient(alpha, gates))
    [expected] = torch.autograd.grad((alone[path] * behind).sum(), linear)
    torch.testing.assert_close(of_linear, expected)


class Box:
    """No container that is known."""

    def __init__(self, x):
        self.x = x


class Boxed(nn.Module):
    """Takes an object, by a name that is used elsewhere, and writes into it."""

    def __init__(self, factor):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))

    def forward(self, *, index):
        index.x = index.x * self.factor
        return index.x


class BoxedSpace(ModelSpace):
    def __init__(self):
        super().__init__()
        self.layer = LayerChoice([Boxed(2.0), Boxed(3.0)], label="layer")

    def forward(self, x):
        return self.layer(index=Box(x))


@pytest.mark.parametrize("path", [0, 1])
def test_all_candidates_are_given_what_the_path_was_given(path):
    strategy, _, alpha = opened(BoxedSpace(), path)
    x = torch.randn(2, 4)
    [found] = torch.autograd.grad(strategy.mixture(x).sum(), alpha)
    gates = [(2 * x).sum().item(), (3 * x).sum().item()]
    torch.testing.assert_close(found, expected_gradient(alpha, gates))


class ResidualSpace(ModelSpace):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.layer = LayerChoice([nn.Identity(), nn.Linear(4, 4)], label="layer")

    def forward(self, x):
        x = self.first(x)
        x += self.layer(x)
        return x


@pytest.mark.parametrize("path", [0, 1])
def test_input_that_a_candidate_gives_may_be_changed_behind_it(path):
    strategy, gate, alpha = opened(ResidualSpace(), path)
    x = torch.randn(2, 4)
    [found] = torch.autograd.grad(strategy.mixture(x).sum(), alpha)
    hidden = strategy.mixture.first(x)
    gates = [gate[index](hidden).sum().item() for index in range(2)]
    torch.testing.assert_close(found, expected_gradient(alpha, gates))


def test_what_has_no_gradient_has_no_part_in_that_of_the_architecture():
    def with_mask(factor):
        return lambda x: (factor * x, torch.full((2,), -torch.inf))

    gate = gate_of(with_mask(1.0), with_mask(2.0))
    x = torch.randn(2, 4)
    output, mask = gate(x)
    assert mask.isneginf().all()
    alpha = gate._arch_alpha
    [found] = torch.autograd.grad(output.sum(), alpha)
    gates = [x.sum().item(), 2 * x.sum().item()]
    torch.testing.assert_close(found, expected_gradient(alpha, gates))


class Gives(nn.Module):
    """Gives what a function makes of what it is given."""

    def __init__(self, make):
        super().__init__()
        self.make = make
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, x):
        return self.make(x * self.weight)


def gate_of(*makes):
    class Space(ModelSpace):
        def __init__(self):
            super().__init__()
            self.layer = LayerChoice([Gives(make) for make in makes], label="layer")

    return opened(Space(), 0)[1]


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (
            lambda x: {"a": x, "b": 2 * x}, lambda x: {"b": 2 * x, "a": x},
            r"1 of 'layer' gives {b: float32\[2, 4\], a: float32\[2, 4\]}, and candidate 0 {a: ",
        ),
        (
            lambda x: x, lambda x: x[:, :1],
            r"1 of 'layer' gives float32\[2, 1\], and candidate 0 float32\[2, 4\]; accepted by Pr",
        ),
        (
            lambda x: (x, None), lambda x: (x, x),
            r"1 of 'layer' gives \(float32\[2, 4\], float32\[2, 4\]\), and candidate 0 .*NoneType",
        ),
        (
            lambda x: (x, None), lambda x: (None, x),
            r"1 of 'layer' gives \(NoneType, float32\[2, 4\]\), and candidate 0 ",
        ),
    ],
)  # fmt: skip
def test_candidates_that_give_other_things_than_the_path_are_refused(first, second, message):
    output = gate_of(first, second)(torch.randn(2, 4, requires_grad=True))
    with pytest.raises(ValueError, match=message):
        sum(each.sum() for each in tree_leaves(output) if each is not None).backward()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda x: nn.utils.rnn.pack_sequence([x.long()]),
            "int64.*; accepted by Proxyless",
        ),
        (lambda x: UserDict(x=x), "UserDict; accepted by Proxyless are tensors of floating"),
        (lambda x: (x, UserDict(x=x)), r"\(float32\[2, 4\], UserDict\); accepted by Prox"),
        (lambda x: x.long(), r"int64\[2, 4\]; accepted by Proxyless"),
        (lambda x: (x, torch.fft.fft(x)), r"\(float32.*, complex64\[2, 4\]\); accepted by Pr"),
    ],
)
def test_outputs_that_would_pass_the_gate_by_are_refused(make, message):
    with pytest.raises(ValueError, match=f"candidate 0 of 'layer' gives {message}"):
        gate_of(make, make)(torch.randn(2, 4))
