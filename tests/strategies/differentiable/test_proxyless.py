"""ProxylessNAS: its paths, its child, and what is refused."""

import pytest
import torch
from gates import mixed
from mixtures import SPACES, make, run
from spaces import ConvSpace, FlatSpace

torch.set_num_threads(1)


@pytest.mark.parametrize("bilevel", [True, False])
def test_convolutions_are_trained_under_autocast(bilevel):
    strategy, watch = run(
        "proxyless_nas", "two", bilevel=bilevel, trainer={"epochs": 1, "precision": "bf16-mixed"}
    )
    assert len(watch.losses) == 6
    assert all(len(set(theta)) == 4 for theta in strategy.architecture.weights().values())


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
