"""What a strategy's training asks of a loss term, and gives it."""

import inspect
from dataclasses import replace

import pytest
import pytorch_lightning as pl
import torch
from spaces import ConvSpace
from training import Watch, classification, train

from nni_magic.losses.term import LossTerm, TrainingSupernet
from nni_magic.search import ProgressiveShrinking
from nni_magic.strategies.base import SupernetStrategy

SETTINGS = {"seed": 3, "validation_children": 2, "validation_batches": 1, "calibration_batches": 0}


class Noting(LossTerm):
    """Adds a number, and notes all that is asked of it."""

    name = "constant"
    weight = 0.5

    def __init__(self, value=2.0, layers=(), validated=None, name="constant"):
        self.name = name
        self.value, self.wanted, self.named = value, layers, validated
        self.events, self.recorded, self.steps = [], [], 0

    def begin(self, module):
        self.module = module
        self.events.append(("begin", module.resumes, self.steps))

    def started(self):
        self.events.append("started")

    def before_step(self, batch, batch_idx):
        self.steps += 1
        self.events.append(("before", batch_idx, self.module.child))

    @property
    def layers(self):
        if self.wanted is None:
            return None
        return {name: self.module.model.get_submodule(name) for name in self.wanted}

    def __call__(self, step, turn):
        self.events.append(("term", turn.child))
        self.recorded.append(replace(step, calls=list(step.calls)))  # the step lets go of its own
        return None if self.value is None else torch.tensor(self.value)

    def restricted(self, allowed, ranked):
        self.events.append(("restricted", allowed, len(ranked)))

    def validated(self):
        return self.named

    def state_dict(self):
        return {"steps": self.steps}

    def load_state_dict(self, state):
        self.steps = state["steps"]


def run(*terms, watch=None, checkpoint=None, shrinking=None, epochs=1):
    class Method(SupernetStrategy):
        def make_terms(self):
            return terms

    torch.manual_seed(11)
    evaluator = classification(watch or Watch(), epochs=epochs)
    strategy = Method(shrinking=shrinking, **SETTINGS)
    return train(strategy, ConvSpace(), evaluator, checkpoint), evaluator


def test_term_is_asked_in_order_and_for_every_child_that_is_trained():
    run(term := Noting(), watch=(watch := Watch()))
    children = [child for child, _ in watch.steps]
    expected = [("begin", False, 0), "started"]
    for index, child in enumerate(children):
        expected += [("before", index, children[index - 1] if index else None), ("term", child)]
    assert term.events == expected


def test_loss_has_the_term_times_its_weight():
    run(watch=(plain := Watch()))
    _, evaluator = run(Noting(2.0), watch=(watch := Watch()))
    assert [loss for _, loss in watch.steps] == pytest.approx(
        [loss + 1.0 for _, loss in plain.steps], rel=1e-5
    )
    logged = evaluator.trainer.callback_metrics
    assert logged["supernet/constant"] == 2.0
    assert logged["supernet/prediction_loss"] == pytest.approx(plain.steps[-1][1], rel=1e-5)


def test_terms_add_up():
    first, second = Noting(2.0), Noting(-3.0)
    second.name, second.weight = "other", 0.25
    run(watch=(plain := Watch()))
    _, evaluator = run(first, second, watch=(watch := Watch()))
    added = 2.0 * 0.5 - 3.0 * 0.25
    assert watch.steps[0][1] == pytest.approx(plain.steps[0][1] + added, rel=1e-5)
    assert evaluator.trainer.callback_metrics["supernet/other"] == -3.0


@pytest.mark.parametrize("term", [Noting(None), Noting(layers=None)])
def test_term_may_add_nothing(term):
    run(watch=(plain := Watch()))
    _, evaluator = run(term, watch=(watch := Watch()))
    assert watch.steps == plain.steps
    assert "supernet/constant" not in evaluator.trainer.callback_metrics
    assert (term.recorded == []) == (term.wanted is None)


def test_term_gets_the_calls_with_the_states_of_its_layers():
    run(term := Noting(layers=["blocks.1", "blocks.3"]))
    for step in term.recorded:
        [[call]], [loss] = step.calls, step.losses
        assert set(call.states) == {"blocks.1", "blocks.3"}
        assert call.states["blocks.3"].shape == (8, 4, 8, 8)
        assert call.output.shape == (8, 10)
        assert not loss.requires_grad and call.states["blocks.1"].requires_grad


def test_term_that_names_no_layers_gets_the_calls_alone():
    run(term := Noting())
    assert [len(step.calls[0]) for step in term.recorded] == [1] * 6
    assert all(step.calls[0][0].states == {} for step in term.recorded)


def test_validation_scores_the_children_that_the_first_such_term_names():
    child = dict.fromkeys(ConvSpace().simplify(), "conv1")
    terms = [Noting(name=str(n), validated=[child] * n or None) for n in (0, 3, 1)]
    _, evaluator = run(*terms)
    assert evaluator.trainer.callback_metrics["supernet/validated_children"] == 3


def test_term_is_told_what_shrinking_leaves():
    shrinking = ProgressiveShrinking(n_drop=6, evaluations=8)
    run(term := Noting(), shrinking=shrinking, epochs=2)
    told = [event for event in term.events if event[0] == "restricted"]
    assert [sum(map(len, allowed.values())) for _, allowed, _ in told] == [10, 4]
    assert told[-1][2] <= 1


def test_state_comes_back_before_the_fit_begins(tmp_path):
    path = tmp_path / "stopped.ckpt"
    run(Noting(), watch=Watch(4, path))
    run(term := Noting(), checkpoint=path)
    assert term.events[:2] == [("begin", True, 4), "started"]
    assert term.steps == 6


def test_defaults_of_a_term_add_and_change_nothing():
    class Least(LossTerm):
        name, weight = "least", 1.0

        def __call__(self, step, turn):
            return None

    run(watch=(plain := Watch()))
    strategy, _ = run(Least(), watch=(watch := Watch()))
    assert watch.steps == plain.steps
    [term] = strategy.oneshot_module.terms
    term.restricted({}, [])
    term.load_state_dict(term.state_dict())
    assert (term.layers, term.validated(), term.state_dict()) == ({}, None, {})


def test_module_gives_terms_all_that_the_protocol_names():
    names = set(TrainingSupernet.__annotations__) | {
        name for name in vars(TrainingSupernet)
        if not name.startswith("_") and name != "__init__"
    }  # fmt: skip
    assert {"router", "draw_children", "sampler", "log_is_due"} <= names
    seen = []

    class Look(pl.Callback):
        def on_train_batch_end(self, trainer, module, *args):
            seen.append({name for name in names if not hasattr(module, name)})

    run(Noting(), watch=Look())
    assert seen == [set()] * 6
    module = run()[0].oneshot_module
    ours, theirs = (
        list(inspect.signature(owner.draw_children).parameters)
        for owner in (TrainingSupernet, type(module))
    )
    assert ours == theirs
