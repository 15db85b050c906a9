"""ENAS's controller: against an LSTM written anew, REINFORCE by differences, and a bandit."""

import copy
import math
from collections import Counter
from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from spaces import FlatSpace, MixedSpace

from nni_magic.samplers.controlled import ControlledSampler


def sampler_of(make=FlatSpace, **more):
    return ControlledSampler(make(), **{"seed": 0, "n_steps": 5, **more})


class Probe(SimpleNamespace):
    """Stands for a training; scores what it is asked for."""

    def __init__(self, score, epoch=1):
        super().__init__(score=score, epoch=epoch, asked=[])

    def reward(self, child):
        self.asked.append(child)
        return self.score(child)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def log_probabilities(weights, indices):
    """Of a child's choices, by the formulas of an LSTM."""
    hidden, memory = np.zeros(64), np.zeros(64)
    inputs, found = weights["start"][0], []
    for n, choice in enumerate(indices):
        gates = (
            weights["cell.weight_ih"] @ inputs + weights["cell.bias_ih"]
            + weights["cell.weight_hh"] @ hidden + weights["cell.bias_hh"]
        )  # fmt: skip
        i, f, g, o = np.split(gates, 4)
        memory = sigmoid(f) * memory + sigmoid(i) * np.tanh(g)
        hidden = sigmoid(o) * np.tanh(memory)
        logits = 1.5 * np.tanh(weights[f"heads.{n}.weight"] @ hidden)
        found.append(logits[choice] - np.log(np.exp(logits).sum()))
        inputs = weights[f"chosen.{n}.weight"][choice]
    return np.array(found)


def numbers(sampler):
    state = sampler.controller.state_dict()
    return {name: weight.double().numpy().copy() for name, weight in state.items()}


def indices_of(sampler, child):
    return [sampler.candidates[label].index(choice) for label, choice in child.items()]


def louder(sampler):
    """Make the controller's preferences strong."""
    with torch.no_grad():
        for weight in sampler.controller.parameters():
            weight.mul_(20)
    return sampler


def test_probabilities_are_those_of_the_formulas():
    sampler = louder(sampler_of())
    for _ in range(5):
        child = sampler.next()
        expected = log_probabilities(numbers(sampler), indices_of(sampler, child))
        np.testing.assert_allclose(
            sampler.log_probabilities(child).detach(), expected, rtol=1e-9
        )
    assert expected.std() > 0.1  # they are no longer uniform


def test_children_are_drawn_with_their_probabilities():
    sampler = louder(sampler_of())
    labels = list(sampler.candidates)[:2]
    drawn = [sampler.next() for _ in range(2000)]
    counts = Counter(tuple(child[label] for label in labels) for child in drawn)
    pairs = list(product(*(sampler.candidates[label] for label in labels)))
    child = sampler.next()
    expected = []
    for pair in pairs:
        child.update(zip(labels, pair, strict=True))
        expected.append(sampler.log_probabilities(child)[:2].sum().exp().item())
    assert sum(expected) == pytest.approx(1, abs=1e-5)
    expected = 2000 * np.array(expected) / sum(expected)
    assert chisquare([counts[pair] for pair in pairs], expected).pvalue > 1e-3
    assert chisquare([counts[pair] for pair in pairs]).pvalue < 1e-3  # not uniform


def test_a_step_is_reinforce_by_the_first_step_of_adam():
    sampler = sampler_of(n_steps=1, learning_rate=0.01, entropy_weight=0.5)
    sampler.baseline = 2.0
    before, probe = numbers(sampler), Probe(lambda child: 7.0)
    sampler.turns(probe)
    [child] = probe.asked
    indices = indices_of(sampler, child)
    logs = log_probabilities(before, indices)
    reward = 7.0 - 0.5 * (np.exp(logs) * logs).sum()
    baseline = 0.99 * 2.0 + 0.01 * reward
    assert sampler.baseline == pytest.approx(baseline)
    after = numbers(sampler)
    for name, place in (("start", (0, 3)), ("cell.weight_hh", (70, 5)), ("heads.1.weight", (1, 9))):
        moved = copy.deepcopy(before)
        values = []
        for delta in (1e-5, -1e-5):
            moved[name][place] = before[name][place] + delta
            values.append(log_probabilities(moved, indices).sum())
        gradient = -(reward - baseline) * (values[0] - values[1]) / 2e-5
        step = after[name][place] - before[name][place]
        assert step == pytest.approx(-0.01 * gradient / (abs(gradient) + 1e-3), rel=1e-4)


def test_it_learns_what_is_rewarded():
    sampler = sampler_of(n_steps=200, learning_rate=0.01)
    first = next(iter(sampler.candidates))
    best = sampler.candidates[first][-1]
    sampler.turns(Probe(lambda child: float(child[first] == best)))
    shares = Counter(sampler.next()[first] for _ in range(300))
    assert shares[best] > 1.6 * 300 / len(sampler.candidates[first])


def test_it_learns_when_an_epoch_is_over_and_once():
    sampler, before = sampler_of(), numbers(sampler_of())
    sampler.turns(first := Probe(lambda child: 1.0, epoch=0))
    assert first.asked == []
    assert all(np.array_equal(before[name], each) for name, each in numbers(sampler).items())
    probe = Probe(lambda child: float(len(probe.asked)))
    for _ in range(3):
        sampler.turns(probe)
    assert len(probe.asked) == 5
    assert not np.array_equal(before["start"], numbers(sampler)["start"])


def test_score_that_is_not_finite_teaches_nothing():
    sampler, before = sampler_of(), numbers(sampler_of())
    sampler.turns(Probe(lambda child: math.nan))
    assert sampler.baseline is None
    assert all(np.array_equal(before[name], each) for name, each in numbers(sampler).items())


def test_deleted_candidates_have_no_probability():
    sampler = louder(sampler_of())
    label, choices = next(iter(sampler.candidates.items()))
    sampler.restrict({label: choices[1:]})
    children = [sampler.next() for _ in range(50)]
    assert {child[label] for child in children} == set(choices[1:])
    total = 0.0
    for choice in choices[1:]:
        total += sampler.log_probabilities({**children[0], label: choice})[0].exp().item()
    assert total == pytest.approx(1, abs=1e-5)
    sampler.turns(Probe(lambda child: float(child[label] == choices[1])))
    assert all(weight.isfinite().all() for weight in sampler.controller.parameters())


def test_constraints_are_kept():
    label, choices = next(iter(sampler_of().candidates.items()))
    sampler = sampler_of(filter=lambda child: child[label] == choices[0])
    assert {sampler.next()[label] for _ in range(20)} == {choices[0]}


def test_labels_that_are_not_active_count_as_later_choices_read_them():
    sampler = louder(sampler_of(MixedSpace))
    child = next(
        child for child in iter(sampler.next, None) if sampler.active_labels(child) != child.keys()
    )
    expected = log_probabilities(numbers(sampler), indices_of(sampler, child))
    np.testing.assert_allclose(sampler.log_probabilities(child).detach(), expected, rtol=1e-9)


def test_it_learns_once_more_when_the_training_is_over():
    sampler, probe = sampler_of(), Probe(lambda child: float(len(probe.asked)), epoch=0)
    sampler.turns(probe)
    sampler.end(probe)
    assert len(probe.asked) == 5


def test_steps_that_an_error_has_ended_are_made_up_for():
    class Stopped(Exception):
        pass

    def score(child):
        if len(probe.asked) == 3:
            raise Stopped
        return 1.0

    probe = Probe(score)
    sampler = sampler_of()
    with pytest.raises(Stopped):
        sampler.turns(probe)
    other = sampler_of()
    other.load_state_dict(sampler.state_dict())
    other.turns(rest := Probe(lambda child: 1.0))
    assert len(rest.asked) == 3  # of 5, of which 2 were made


def test_state_of_other_sizes_is_refused():
    state = sampler_of().state_dict()
    state["controller"]["heads.0.weight"] = torch.zeros(7, 64)
    with pytest.raises(ValueError, match=r"(?s)the state is of another model space: .*heads\.0"):
        sampler_of().load_state_dict(state)


@pytest.mark.parametrize("epoch", [1, 2])
def test_state_goes_on_to_the_same_children(epoch):
    def score(child):
        return sum(map(float, indices_of(one, child)))

    one = sampler_of()
    one.turns(Probe(score))
    state = copy.deepcopy(one.state_dict())
    other = sampler_of(seed=9)
    other.load_state_dict(state)
    for sampler in (one, other):
        sampler.turns(Probe(score, epoch))
    assert [one.next() for _ in range(5)] == [other.next() for _ in range(5)]
    assert one.baseline == other.baseline


def test_it_draws_from_its_own_generator_alone():
    space = FlatSpace()
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first, second = sampler_of(lambda: space), sampler_of(lambda: space)
    first.turns(Probe(lambda child: 1.0))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(4)
    second.turns(Probe(lambda child: 1.0))
    assert [first.next() for _ in range(3)] == [second.next() for _ in range(3)]


@pytest.mark.parametrize(("setting", "name"), [
    ({"n_steps": 0}, "controller_steps is 0"),
    ({"learning_rate": 0.0}, "controller_learning_rate is 0.0"),
    ({"entropy_weight": -1.0}, "entropy_weight is -1.0"),
])  # fmt: skip
def test_bad_settings_are_named(setting, name):
    with pytest.raises(ValueError, match=name):
        sampler_of(**setting)
