"""The sandwich rule: a step against the same step by hand, alone and with an alignment."""

import copy
import itertools
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from regressions import Headed, assert_same_weights, fresh, regression, run
from sandwiches import by_hand
from spaces import ConvSpace, FlatSpace
from torch import nn
from training import Watch, classification, make, train

METHODS = Path(__file__).parents[2] / "docs/methods.md"


def cross_entropy(temperature):
    def divergence(student, teacher):
        targets = (teacher / temperature).softmax(-1)
        return temperature**2 * nn.functional.cross_entropy(student / temperature, targets)

    return divergence


@pytest.mark.parametrize(("n_random", "temperature"), [(1, 1.0), (2, 1.0), (0, 1.0), (1, 3.0)])
def test_step_is_that_by_hand(n_random, temperature):
    space = run(make("sandwich", n_random=n_random, temperature=temperature), None, Headed)
    assert_same_weights(space, by_hand(cross_entropy(temperature), n_random))


def test_students_see_what_their_teacher_sees():
    seen = []

    class Noting(Watch):
        def on_train_start(self, trainer, module):
            step = module.training_module.training_step

            def noted(batch, batch_idx):
                loss = step(batch, batch_idx)
                seen.append(module.training_module.seen)
                return loss

            module.training_module.training_step = noted

    run(make("sandwich"), Noting(), Headed, noise=1.0)
    assert len(seen) == 4 * 3
    for n in range(0, 12, 3):
        assert torch.equal(seen[n], seen[n + 1]) and torch.equal(seen[n], seen[n + 2])


@pytest.mark.parametrize("turn_by_turn", [False, True])
def test_step_whose_teacher_is_skipped_trains_no_child(turn_by_turn):
    """The evaluator skips the batch for the largest child alone; the smallest is no teacher."""

    class Skipping(Watch):
        def on_train_start(self, trainer, module):
            step, n_calls = module.training_module.training_step, itertools.count()
            module.training_module.training_step = lambda batch, batch_idx: (
                step(batch, batch_idx) if next(n_calls) % 3 else None
            )

        def on_train_batch_end(self, *args):
            """There is no loss to note."""

    space = run(make("sandwich", turn_by_turn=turn_by_turn), Skipping(), Headed)
    assert_same_weights(space, fresh(Headed)[0], 0)


def test_space_whose_children_all_cost_the_same_is_refused_at_the_start():
    watch = Watch()
    with pytest.raises(ValueError, match=r"cost of the largest child is 60, as of the smallest"):
        train(make("sandwich"), FlatSpace(), regression(watch))
    assert watch.steps == []


# Composed with others


@pytest.fixture
def aligned_sandwich(monkeypatch):
    """The strategy that docs/methods.md composes: a sandwich in MAGIC-T's order, aligned."""
    *_, code = re.findall(r"```python\n(.*?)```", METHODS.read_text(), re.S)
    module = ModuleType("composed")
    monkeypatch.setitem(sys.modules, "composed", module)
    exec(compile(code, str(METHODS), "exec"), module.__dict__)
    return module.AlignedSandwich


def test_sandwich_is_composed_with_an_alignment_and_a_walk(aligned_sandwich, tmp_path):
    settings = {
        "seed": 3, "validation_children": 3, "validation_batches": 2, "warmup_epochs": 1,
        "align_every": 2, "anchor_interval": 3, "anchor_candidates": 4,
    }  # fmt: skip
    logged = []

    class Logged(Watch):
        def on_train_epoch_end(self, trainer, module):
            logged.append(dict(trainer.callback_metrics))

    def start(watch, checkpoint=None):
        torch.manual_seed(11)
        space = ConvSpace()
        train(aligned_sandwich(**settings), space, classification(watch), checkpoint)
        return copy.deepcopy(space.state_dict())

    whole = start(watch := Logged())
    losses = ["supernet/alignment_loss", "supernet/distillation_loss", "supernet/prediction_loss"]
    assert [name for name in losses if name not in logged[-1]] == []
    assert "supernet/alignment_loss" not in logged[0]
    start(before := Watch(7, path := tmp_path / "stopped.ckpt"))
    resumed = start(after := Watch(), path)
    assert before.steps + after.steps == watch.steps
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)
