"""The schedule against brute force; see the contract for whole runs."""

import math
from types import SimpleNamespace

import pytest
from spaces import ConvSpace, FlatSpace

from nni_magic.samplers import UniformSampler
from nni_magic.search import ProgressiveShrinking

# The schedule, with a stub for the trainer


def stub(space, *, max_epochs=None, max_steps=-1, batches=10, accumulated=1, epoch=0, step=0):
    return SimpleNamespace(
        sampler=UniformSampler(space, seed=0),
        trainer=SimpleNamespace(
            max_epochs=max_epochs, max_steps=max_steps, num_training_batches=batches,
            accumulate_grad_batches=accumulated, current_epoch=epoch, global_step=step,
            should_stop=False,
        ),
    )  # fmt: skip


def papers(**settings):
    """26 blocks of 4 candidates."""
    return stub(FlatSpace(26, 4), **settings)


@pytest.mark.parametrize("settings", [
    {"max_epochs": 16}, {"max_epochs": -1}, {"max_epochs": None}, {"max_epochs": 100},
    {"max_steps": 160}, {"max_steps": 151}, {"max_steps": 31, "accumulated": 6},
    {"max_epochs": 16, "max_steps": 160}, {"max_steps": 5, "batches": math.inf},
])  # fmt: skip
def test_a_schedule_that_ends_is_accepted(settings):
    ProgressiveShrinking(n_drop=5).begin(papers(**settings))


@pytest.mark.parametrize(("settings", "epochs"), [
    ({"max_epochs": 15}, 15), ({"max_epochs": 0}, 0), ({"max_steps": 150}, 15),
    ({"max_steps": 30, "accumulated": 6}, 15), ({"max_epochs": 15, "max_steps": 1000}, 15),
    ({"max_epochs": 100, "max_steps": 41}, 5),
])  # fmt: skip
def test_a_schedule_that_cannot_end_is_refused(settings, epochs):
    n_drop = math.ceil(78 / max(1, epochs))
    message = (
        rf"n_drop is 5; accepted are whole numbers of at least {n_drop}, as {epochs} epochs have "
        r"to make the 78 deletions .*; or train 16 epochs$"
    )
    with pytest.raises(ValueError, match=message):
        ProgressiveShrinking(n_drop=5).begin(papers(**settings))


@pytest.mark.parametrize(("max_epochs", "max_steps"), [(16, -1), (-1, 160), (-1, 155)])
def test_a_resumed_schedule_counts_what_is_left(max_epochs, max_steps):
    module = papers(max_epochs=max_epochs, max_steps=max_steps, epoch=10, step=104)
    shrinking = ProgressiveShrinking(n_drop=5)
    shrinking.load_state_dict({"history": [{"epoch": 10}]})
    with pytest.raises(ValueError, match="at least 13, as 6 epochs have to make the 78 deletions"):
        shrinking.begin(module)
    module.sampler.restrict({f"block_{n}": [0] for n in range(1, 17)})
    shrinking.begin(module)  # 30 are left for six epochs
    assert shrinking.history == [{"epoch": 10}]


def test_a_new_run_begins_a_new_history():
    shrinking = ProgressiveShrinking()
    shrinking.load_state_dict({"history": [{"epoch": 10}]})
    shrinking.begin(papers(max_epochs=16))
    assert shrinking.history == []


def test_one_child_left_stops_the_training_also_of_a_resumed_run():
    module = stub(ConvSpace(2), max_epochs=9, epoch=4, step=40)
    module.sampler.restrict({"block_1": ["skip"], "block_2": ["drop"]})
    shrinking = ProgressiveShrinking()
    shrinking.load_state_dict({"history": [{"epoch": 4}]})
    shrinking.begin(module)
    assert module.trainer.should_stop


@pytest.mark.parametrize("setting", [{"n_drop": 0}, {"evaluations": 1.5}, {"n_drop": True}])
def test_settings_out_of_range(setting):
    [(name, value)] = setting.items()
    with pytest.raises(ValueError, match=f"{name} is {value}; accepted are whole numbers of at"):
        ProgressiveShrinking(**setting)
