"""Weights that load into the child that NNI builds anew."""

import pytest
import torch
from nni.nas.nn.pytorch import LayerChoice, ModelSpace
from nni.nas.space import model_context
from scores import trained
from spaces import ConvSpace, small_mobilenet
from torch import nn

from nni_magic.children.samples import candidates
from nni_magic.export.rebuilding import weights_to_load
from nni_magic.support.compat import freeze

X = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
CONV = dict.fromkeys((f"block_{n}" for n in range(1, 5)), "conv3")
LINEAR = torch.ones(2, 4)


def written(net, sample, *inputs):
    """A frozen child, and what is written of it."""
    child = freeze(net, sample).eval()
    return child, *weights_to_load(child, net, sample, (inputs, {}))


def largest_without_squeeze_excite(net):
    return {
        label: "identity" if "identity" in choices else choices[-1]
        for label, choices in candidates(net).items()
    }


def test_weights_behind_what_a_child_skips_have_the_names_of_the_child_built_anew():
    net = trained(lambda: small_mobilenet(bn_eps=1e-5))
    sample = largest_without_squeeze_excite(net)
    child, weights, problem = written(net, sample, X)
    assert problem is None and weights.keys() != child.state_dict().keys()
    with model_context(sample):
        anew = small_mobilenet(bn_eps=1e-5).eval()
    anew.load_state_dict(weights)
    torch.testing.assert_close(anew(X), child(X), rtol=1e-5, atol=1e-6)


def test_a_setting_that_no_weight_holds_is_told():
    net = trained(small_mobilenet)
    sample = largest_without_squeeze_excite(net)
    child, weights, problem = written(net, sample, X)
    assert problem == "built anew its 'stem.1' has {'eps': 0.001}, and not {'eps': 1e-05}"
    with model_context(sample):
        anew = small_mobilenet().eval()
    anew.load_state_dict(weights)
    assert not torch.allclose(anew(X), child(X), rtol=1e-5, atol=1e-6)
    for module in anew.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 1e-5
    torch.testing.assert_close(anew(X), child(X), rtol=1e-5, atol=1e-6)


def test_a_space_that_was_changed_by_hand_has_other_weights():
    net = trained(ConvSpace)
    net.head = nn.Sequential(net.head, nn.Linear(10, 3))
    child, weights, problem = written(net, CONV, X[:, :1])
    assert problem == (
        "built anew it has other weights: ['head.bias', 'head.weight'] in place of "
        "['head.0.bias', 'head.0.weight', 'head.1.bias']"
    )
    assert weights.keys() == child.state_dict().keys()


class Once(ModelSpace):
    """A space that is built differently the second time."""

    def __init__(self, built):
        super().__init__()
        self.block = LayerChoice([nn.Linear(4, 4), nn.Identity()], label="op")
        self.double = bool(built)
        if self.double and built[0] == "fails":
            raise RuntimeError("only once")

    def forward(self, x):
        return self.block(x) * (2 if self.double else 1)


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ("doubles", "built anew it computes something else: Tensor-likes are not close"),
        ("fails", "it cannot be built anew: RuntimeError: only once"),
    ],
)
def test_a_child_that_is_another_when_built_anew_is_told(second, message):
    built = []
    net = trained(lambda: Once(built))
    built.append(second)
    child, weights, problem = written(net, {"op": 0}, LINEAR)
    assert problem.startswith(message)
    assert weights.keys() == child.state_dict().keys()


class Rearranged(ModelSpace):
    """Two layers of the same shapes, whose names are exchanged when one of them is chosen."""

    def __init__(self):
        super().__init__()
        first = LayerChoice([nn.Linear(4, 4), nn.Identity()], label="op")
        plain = not isinstance(first, LayerChoice)
        self.a, self.b = (nn.Linear(4, 4), first) if plain else (first, nn.Linear(4, 4))
        self.plain = plain

    def forward(self, x):
        return self.a(self.b(x).tanh()) if self.plain else self.b(self.a(x).tanh())


def test_equal_names_of_other_layers_are_seen_by_what_they_compute():
    child, weights, problem = written(trained(Rearranged), {"op": 0}, LINEAR)
    assert problem.startswith("built anew it computes something else")
    assert weights.keys() == child.state_dict().keys()


def test_random_numbers_and_the_child_stay_as_they_are():
    net = trained(lambda: small_mobilenet(bn_eps=1e-5))
    child = freeze(net, sample := largest_without_squeeze_excite(net)).eval()
    before = {name: value.clone() for name, value in child.state_dict().items()}
    state = torch.get_rng_state()
    weights_to_load(child, net, sample, ((X,), {}))
    assert torch.equal(torch.get_rng_state(), state)
    torch.testing.assert_close(child.state_dict(), before, rtol=0, atol=0)
