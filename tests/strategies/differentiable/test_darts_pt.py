"""DARTS with a choice by perturbation: what is chosen, when, and what is refused."""

import pytest
import torch
from mixtures import SPACES, Losses, make, run
from nni.nas.nn.pytorch import LayerChoice, ModelSpace
from spaces import ConvSpace
from torch import nn
from training import classification, train

from nni_magic.strategies.differentiable.darts_pt import Chosen, worst

torch.set_num_threads(1)


class Loud(ModelSpace):
    """A block whose second candidate alone says something, and another of twins."""

    def __init__(self):
        super().__init__()
        self.first = LayerChoice(
            {name: nn.Identity() if name == "heard" else nn.AvgPool2d(3, 1, 1)
             for name in ("mute", "heard")}, label="first",
        )  # fmt: skip
        self.second = LayerChoice([nn.Identity(), nn.Identity()], label="second")
        self.head = nn.Linear(64, 10)

    def forward(self, x):
        return self.head(self.second(self.first(x)).flatten(1))


def test_candidate_is_chosen_whose_removal_hurts_most(monkeypatch):
    strategy = make("darts_pt")
    strategy.mutate_model(ConvSpace(2))
    hurts = {"block_1": [0.1, 0.9, 0.3, 0.2], "block_2": [0.5, 0.1, 0.1, 0.7]}

    class Stub:
        mode = "min"

        @staticmethod
        def score():
            label, index = strategy._mixing.removed
            return hurts[label][index]

    strategy._scorer_in_training = Stub
    at = type("T", (), {"max_epochs": 5, "max_steps": -1, "current_epoch": 0})()
    module = type("M", (), {"seed": 3, "trainer": at})()
    found = []
    for at.current_epoch in range(5):
        strategy.before_step(module)
        strategy.before_step(module)  # once an epoch, whatever the steps
        found.append(len(strategy._mixing.chosen))
    assert found == [0, 0, 0, 1, 2]  # one epoch of tuning after each
    assert strategy._mixing.chosen == {"block_1": 1, "block_2": 3}
    assert strategy._mixing.removed is None
    assert strategy.architecture.weights()["block_2"] == [0.0, 0.0, 0.0, 1.0]


def test_order_of_blocks_follows_the_seed():
    def order(seed):
        strategy = make("darts_pt", seed=seed)
        strategy.mutate_model(ConvSpace(6))
        return strategy._order(seed)

    assert order(1) == order(1) != order(2)
    assert sorted(order(1)) == sorted(order(2))


def test_removed_candidate_is_nothing_and_the_others_stay():
    mixing, alpha = Chosen(), torch.tensor([1.0, 2.0, 3.0])
    mixing.name({"a": alpha})
    theta = torch.softmax(alpha, 0)
    mixing.removed = ("a", 1)
    assert mixing(alpha).tolist() == pytest.approx([float(theta[0]), 0, float(theta[2])])
    mixing.removed = ("b", 1)
    torch.testing.assert_close(mixing(alpha), theta)
    mixing.chosen = {"a": 0}
    assert mixing(alpha).tolist() == [1, 0, 0]


def test_worst_is_told_by_the_mode_and_not_a_number_is_worst():
    assert [worst([0.2, 0.7, 0.1], mode) for mode in ("min", "max")] == [1, 2]
    assert worst([0.2, float("nan"), 0.9], "min") == 1


def test_run_chooses_by_the_mixtures_metric_and_exports_the_chosen():
    torch.manual_seed(0)
    strategy = make("darts_pt", metric="val_acc", validation_batches=4)
    train(strategy, Loud(), classification(Losses()))
    [model] = strategy.list_models()
    chosen = strategy._mixing.chosen
    assert model.sample == {
        label: strategy._candidates[label][index] for label, index in chosen.items()
    }
    assert model.sample.keys() == {"first", "second"}


def test_run_that_is_stopped_between_two_choices_goes_on_with_the_first(tmp_path):
    path = tmp_path / "stopped.ckpt"
    whole_strategy, whole = run("darts_pt", "two")
    before_strategy, before = run("darts_pt", "two", 8, path)  # of 18 steps, in the second epoch
    strategy, after = run("darts_pt", "two", checkpoint=path)
    assert len(before_strategy._mixing.chosen) == 1
    assert before.losses + after.losses == whole.losses
    assert strategy._mixing.chosen == whole_strategy._mixing.chosen
    assert len(strategy._mixing.chosen) == 2


@pytest.mark.parametrize(
    ("trainer", "message"),
    [
        ({"epochs": 2}, "is 2, and max_steps -1, which makes 2 epochs; accepted are more than 2, "),
        ({"epochs": 1}, "is 1, and max_steps -1, which makes 1 epochs; accepted are more than 2, "),
        ({"epochs": 9, "max_steps": 12}, "is 9, and max_steps 12, which makes 2 epochs; accepted"),
        ({"epochs": -1}, "is -1, and max_steps -1, which makes inf epochs; accepted are more than"),
    ],
)
def test_too_few_epochs_are_refused(trainer, message):
    with pytest.raises(ValueError, match=f"max_epochs of the trainer {message}"):
        run("darts_pt", "two", trainer=trainer)


def test_epochs_of_a_training_are_told_by_its_steps_too():
    strategy, _ = run("darts_pt", "two", trainer={"epochs": -1, "max_steps": 15})  # of 6 an epoch
    assert len(strategy._mixing.chosen) == 2


def test_training_that_ends_before_all_are_chosen_says_so(caplog):
    class Ends(Losses):
        def on_train_batch_end(self, trainer, *args):
            trainer.should_stop = trainer.current_epoch == 1

    strategy = make("darts_pt")
    train(strategy, ConvSpace(2), classification(Ends()))
    [left] = strategy.architecture.by_label.keys() - strategy._mixing.chosen.keys()
    assert f"ended early: the candidates of {left} are those of the largest" in caplog.text


def test_filter_and_cells_are_refused():
    with pytest.raises(ValueError, match="filter is <class 'bool'>; accepted is None, as DartsPT"):
        make("darts_pt", filter=bool)
    with pytest.raises(ValueError, match="strategy is DartsPT, and 'cell/op_1_0' has no weight"):
        make("darts_pt").mutate_model(SPACES["cell"]())
