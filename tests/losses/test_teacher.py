"""The term of a teacher: which calls it reads, and when it forgets them."""

from types import SimpleNamespace

import pytest
import torch

from nni_magic.losses.imitation import HiddenImitation, Reading
from nni_magic.losses.teacher import TeacherTerm
from nni_magic.supernet.hidden_states import Call
from nni_magic.supernet.step import Step, Turn

TURN = Turn({"a": 0})


class Recorded:
    """Readings in which the child's state is the call's output."""

    def __init__(self):
        self.forgotten = 0

    def layers(self, model):
        return {"a": model}

    def __call__(self, call):
        teacher = Reading({1: torch.zeros(1, 2, 3)})
        return Reading({1: call.output}), teacher, torch.ones(1, 2, dtype=torch.bool)

    def forget(self):
        self.forgotten += 1


@pytest.fixture
def term():
    made = TeacherTerm("hidden", HiddenImitation([(1, 1)], 3, 3, seed=0), Recorded(), 2.0)
    made.begin(SimpleNamespace(model=torch.nn.Identity()))
    return made


def test_term_is_the_mean_over_the_calls_of_the_turn(term):
    outputs = [torch.full((1, 2, 3), value) for value in (1.0, 2.0, 5.0)]
    earlier, *own = (Call((), {}, output=output) for output in outputs)
    found = term(Step([TURN, TURN], calls=[[earlier], own]), TURN)
    project = term.weights.project
    expected = torch.stack([project(output).square().mean() for output in outputs[1:]]).mean()
    torch.testing.assert_close(found, expected)
    assert (term.name, term.weight, list(term.layers)) == ("teacher_hidden_loss", 2.0, ["a"])


def test_batch_is_forgotten_behind_it(term):
    term.tell(Step([TURN]))
    assert term._readings.forgotten == 1


def test_step_that_does_not_call_the_model_is_refused(term):
    with pytest.raises(ValueError, match="calls the model 0 times for a child; accepted is at lea"):
        term(Step([TURN], calls=[[]]), TURN)
