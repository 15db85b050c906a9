"""What is imitated of a teacher: values and gradients against other implementations."""

import math

import pytest
import torch
from torch import nn

from nni_magic.losses.imitation import (
    HiddenImitation,
    LogitImitation,
    Reading,
    RelationImitation,
    logit_divergence,
    relation_divergence,
    relation_heads,
)

REAL = torch.tensor([[True, True, True, False], [True, False, False, False]])


def states(seed, width, places=4):
    return torch.randn(2, places, width, generator=torch.Generator().manual_seed(seed))


def gradient(function, given):
    given = given.clone().requires_grad_()
    function(given).backward()
    return given.grad


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_divergence_of_logits_is_torch_s_with_the_temperature_squared(temperature):
    student, teacher = states(0, 7).flatten(0, 1), states(1, 7).flatten(0, 1)

    def theirs(student):
        p, log_q = (teacher / temperature).softmax(-1), (student / temperature).log_softmax(-1)
        return nn.KLDivLoss(reduction="batchmean")(log_q, p) * temperature**2

    def ours(student):
        return logit_divergence(student, teacher, temperature).mean()

    torch.testing.assert_close(ours(student), theirs(student))
    torch.testing.assert_close(gradient(ours, student), gradient(theirs, student))
    assert logit_divergence(teacher, teacher, temperature).abs().max() < 1e-6


def test_logits_of_a_batch_without_predicted_tokens_cost_nothing():
    empty = Reading(logits=torch.zeros(0, 7))
    assert LogitImitation()(empty, empty, REAL) == 0


def naive_relations(student, teacher, heads):
    """MiniLMv2's definition, row by row, head by head, without what is not real."""
    total, rows = 0.0, 0
    for row, real in enumerate(REAL):
        n = int(real.sum())
        for head in range(heads):
            probabilities = []
            for each in (teacher, student):
                width = each.shape[-1] // heads
                part = each[row, :n, head * width : (head + 1) * width].double()
                probabilities.append((part @ part.T / math.sqrt(width)).softmax(-1))
            p, q = probabilities
            total += (p * (p.log() - q.log())).sum() / heads
        rows += n
    return total / rows


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_relations_are_those_of_minilm_for_widths_that_differ(heads):
    student, teacher = states(0, 8), states(1, 12)
    ours = relation_divergence(student, teacher, heads, REAL)
    torch.testing.assert_close(ours.double(), naive_relations(student, teacher, heads))
    assert relation_divergence(teacher, teacher, heads, REAL).abs() < 1e-6


def test_what_is_not_real_has_no_part_and_no_gradient():
    student, teacher = states(0, 8), states(1, 12)
    changed = student.masked_fill(~REAL[..., None], 1e4)
    hidden = HiddenImitation([(1, 1)], 8, 12, seed=0)

    def relations(given):
        return relation_divergence(given, teacher, 2, REAL)

    def states_alike(given):
        return hidden(Reading({1: given}), Reading({1: teacher}), REAL)

    for term in (relations, states_alike):
        assert term(student) == term(changed)
        slope = gradient(term, student)
        assert slope[~REAL].abs().max() == 0 < slope[0, 0].abs().max()


@pytest.mark.parametrize(
    ("widths", "heads"),
    [([384, 64, 192], 8), ([768, 1024], 64), ([768, 768], 96), ([5, 7], 1), ([4, 8], 1)],
)
def test_as_many_relation_heads_as_divide_all_widths_are_chosen(widths, heads):
    assert relation_heads(widths) == heads
    assert all(width % heads == 0 for width in widths)


def test_relation_heads_that_do_not_divide_a_width_are_refused():
    assert relation_heads([12, 24], 4) == 4
    message = r"relation_heads is 5; accepted are divisors of .*, \[12, 25\], and 12 is no multiple"
    with pytest.raises(ValueError, match=message):
        relation_heads([25, 12], 5)


def test_hidden_states_are_compared_through_one_trained_map_as_tinybert_s():
    pairs = [(1, 2), (3, 4)]
    term = HiddenImitation(pairs, 8, 12, seed=0)
    own = Reading({n: states(n, 8) for n in (1, 3)})
    theirs = Reading({n: states(10 + n, 12) for n in (2, 4)})
    everything = torch.ones(2, 4, dtype=torch.bool)
    expected = sum(nn.MSELoss()(term.project(own.hidden[m]), theirs.hidden[n])
                   for m, n in pairs) / 2  # fmt: skip
    found = term(own, theirs, everything)
    torch.testing.assert_close(found, expected)
    found.backward()
    assert term.project.weight.grad.abs().max() > 0


def test_map_begins_by_its_seed_and_draws_from_no_other_generator():
    before = torch.get_rng_state()
    one, same, other = (HiddenImitation([(1, 1)], 8, 12, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(before, torch.get_rng_state())
    assert one.project.weight.equal(same.project.weight)
    assert not one.project.weight.equal(other.project.weight)


def test_relations_are_of_queries_keys_and_values_or_else_of_the_last_states():
    term = RelationImitation(2)
    ours, theirs = ([states(n + k, 8) for n in range(3)] for k in (0, 5))
    own = Reading({1: states(20, 8), 2: states(21, 8)}, ours)
    teacher = Reading({1: states(30, 12), 3: states(31, 12)}, theirs)
    each = [relation_divergence(a, b, 2, REAL) for a, b in zip(ours, theirs, strict=True)]
    torch.testing.assert_close(term(own, teacher, REAL), sum(each) / 3)
    own.attention = ()
    expected = relation_divergence(own.hidden[2], teacher.hidden[3], 2, REAL)
    assert term(own, teacher, REAL) == expected


def test_terms_are_computed_in_full_precision_under_autocast():
    own, teacher = Reading({1: states(0, 8).bfloat16()}), Reading({1: states(1, 8)})
    for term in (RelationImitation(2), HiddenImitation([(1, 1)], 8, 8, seed=0)):
        plain = term(Reading({1: own.hidden[1].float()}), teacher, REAL)
        with torch.autocast("cpu", torch.bfloat16):
            assert term(own, teacher, REAL) == plain
