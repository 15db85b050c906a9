"""The distillation term: values and gradients against naive formulas in float64."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from nni_magic.losses.distillation import (
    Distillation,
    adaptive_divergence,
    alpha_divergence,
    soft_cross_entropy,
)
from nni_magic.supernet.hidden_states import Call
from nni_magic.supernet.step import Step, Turn

CHILD = Turn({"a": 0})


def logits(seed, *shape, scale=1.0):
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def naive(student, teacher, alpha):
    """The definition, term by term; the limits are Kullback-Leibler divergences."""
    p, q = teacher.double().softmax(-1), student.double().softmax(-1)
    if alpha == 1:
        return (p * (p / q).log()).sum(-1)
    if alpha == 0:
        return (q * (q / p).log()).sum(-1)
    return (q * ((p / q) ** alpha - 1)).sum(-1) / (alpha * (alpha - 1))


def value_and_gradient(function, student, teacher, dtype=torch.float32):
    student = student.to(dtype).clone().requires_grad_()
    value = function(student, teacher.to(dtype))
    value.sum().backward()
    return value.detach(), student.grad


def assert_alike(ours, expected, tolerance=1e-4):
    for a, b in zip(ours, expected, strict=True):
        torch.testing.assert_close(a.double(), b, rtol=tolerance, atol=1e-6)


@pytest.mark.parametrize("alpha", [-1.0, 1.0, 0.0, 0.5, 2.0, -0.3])
def test_divergence_has_value_and_gradient_of_the_formula(alpha):
    student, teacher = logits(0, 5, 7), logits(1, 5, 7)
    ours = value_and_gradient(lambda s, t: alpha_divergence(s, t, alpha), student, teacher)
    expected = value_and_gradient(
        lambda s, t: naive(s, t, alpha), student, teacher, torch.float64
    )
    assert_alike(ours, expected)


def test_divergence_tends_to_kl_at_one_and_zero():
    student, teacher = logits(0, 5, 7), logits(1, 5, 7)
    for limit in (0.0, 1.0):
        near, at = (alpha_divergence(student, teacher, a) for a in (limit + 2e-3, limit))
        torch.testing.assert_close(near, at, rtol=1e-2, atol=1e-3)
    kl = nn.functional.kl_div(student.log_softmax(-1), teacher.softmax(-1), reduction="none")
    torch.testing.assert_close(alpha_divergence(student, teacher, 1.0), kl.sum(-1))


def test_ratios_are_clipped_in_the_gradient():
    student, teacher, clip = logits(0, 4, 6, scale=4), logits(1, 4, 6, scale=4), 5.0
    _, gradient = value_and_gradient(
        lambda s, t: alpha_divergence(s, t, -1.0, clip), student, teacher
    )
    student = student.double().requires_grad_()
    q, p = student.softmax(-1), teacher.double().softmax(-1)
    ratio = q.detach() / p
    assert (ratio > clip).any() and (ratio < clip).any()
    # The gradient of q²/p by log q is q·ratio; of the value with α (α − 1) = 2.
    (q.detach() * ratio.clamp(max=clip) * q.log()).sum().backward()
    torch.testing.assert_close(gradient.double(), student.grad, rtol=1e-4, atol=1e-6)


def test_adaptive_divergence_takes_the_larger_one_row_by_row():
    student, teacher = logits(0, 64, 5, scale=2), logits(1, 64, 5, scale=2)
    low, high = (alpha_divergence(student, teacher, a, 5.0) for a in (-1.0, 1.0))
    assert (low > high).any() and (high > low).any()
    found = adaptive_divergence(student, teacher, -1.0, 1.0, 5.0)
    assert torch.equal(found, torch.maximum(low, high))


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_soft_cross_entropy_is_that_of_torch(temperature):
    student, teacher = logits(0, 6, 4), logits(1, 6, 4)
    expected = nn.functional.cross_entropy(
        student / temperature, (teacher / temperature).softmax(-1), reduction="none"
    )
    found = soft_cross_entropy(student, teacher, temperature)
    torch.testing.assert_close(found, temperature**2 * expected)


# The term


class Model(nn.Module):
    def forward(self, x, attention_mask=None):
        return x


def term(**more):
    distillation = Distillation(soft_cross_entropy, **more)
    distillation.begin(SimpleNamespace(model=Model()))
    return distillation


def step_of(*outputs, **kwargs):
    calls = [[Call((each,), kwargs, {}, each)] for each in outputs]
    return Step([CHILD] * len(outputs), calls=calls)


def test_first_turn_is_the_teacher_and_has_no_term():
    assert term()(step_of(logits(0, 3, 4)), CHILD) is None


def test_later_turns_learn_from_the_first_which_has_no_gradient():
    outputs = [logits(n, 3, 4).requires_grad_() for n in range(3)]
    value = term()(step_of(*outputs), CHILD)
    value.backward()
    assert [o.grad is not None for o in outputs] == [False, False, True]
    torch.testing.assert_close(value, soft_cross_entropy(outputs[2], outputs[0]).mean())


@pytest.mark.parametrize("hold", [dict, lambda **held: SimpleNamespace(**held)])
def test_logits_may_be_held_by_the_output(hold):
    teacher, student = logits(0, 3, 4), logits(1, 3, 4)
    found = term()(step_of(hold(logits=teacher), hold(logits=student)), CHILD)
    assert found == term()(step_of(teacher, student), CHILD)


def test_padding_is_left_out():
    teacher, student, mask = logits(0, 2, 3, 4), logits(1, 2, 3, 4), torch.ones(2, 3)
    mask[0, 2] = 0
    found = term()(step_of(teacher, student, attention_mask=mask), CHILD)
    values = soft_cross_entropy(student, teacher)
    torch.testing.assert_close(found, values[mask != 0].mean())
    assert not math.isclose(found, values.mean())
    assert term(mask_argument=None)(
        step_of(teacher, student, attention_mask=mask), CHILD
    ) == pytest.approx(values.mean().item())
    chosen = step_of(teacher[0], student[0], attention_mask=mask)  # logits of 3 chosen positions
    assert term()(chosen, CHILD) == pytest.approx(values[0].mean().item())


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        (["text"], "the model's output is a str, which cannot be distilled; accepted are logits"),
        ([torch.zeros(3, dtype=torch.long)], "the model's output is a Tensor, which cannot be"),
        ([torch.zeros(3, 1)], r"the model's output is \(3, 1\), which .* at least two classes"),
        ([torch.zeros(2, 5, 8, 8)], r"the model's output is \(2, 5, 8, 8\), which cannot be"),
        ([torch.zeros(2, 5), torch.zeros(2, 6)], r"are \(2, 6\) for a child, and \(2, 5\) for its"),
    ],
)
def test_outputs_that_are_no_logits_are_refused(outputs, message):
    with pytest.raises(ValueError, match=message):
        term()(step_of(*outputs), CHILD)


def test_steps_that_call_the_model_differently_are_refused():
    step = step_of(torch.zeros(2, 3), torch.zeros(2, 3))
    step.calls[1] = []
    with pytest.raises(ValueError, match="calls the model 0 times for a child, and 1 times"):
        term()(step, CHILD)


def test_mask_argument_that_the_model_does_not_have_is_refused():
    with pytest.raises(ValueError, match="mask_argument is 'padding'; accepted are the arguments"):
        term(mask_argument="padding")


def test_no_child_learns_from_another_where_the_evaluator_skips_the_teacher():
    """The first calls of a step are then those of the smallest child."""
    distillation, turns = term(), [Turn({"a": n}) for n in range(3)]
    before = step_of(logits(0, 3, 4), logits(1, 3, 4))
    before.turns = turns[:2]
    for n, turn in enumerate(before.turns, 1):
        distillation(Step(before.turns, calls=before.calls[:n]), turn)
    skipped = Step(turns, calls=step_of(logits(1, 3, 4)).calls)
    assert distillation(skipped, turns[1]) is None
    skipped.calls += step_of(logits(2, 3, 4)).calls
    assert distillation(skipped, turns[2]) is None
