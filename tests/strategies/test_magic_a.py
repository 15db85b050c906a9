"""MAGIC-A: when there is an anchor, which it is, and that its pass leaves no trace."""

import logging
import re

import pytest
import pytorch_lightning as pl
import torch
from nni.mutable import ExpressionConstraint
from spaces import CellSpace, ConvSpace, MixedSpace
from torch import nn
from torchmetrics import SumMetric
from training import (
    QUIET,
    DictModule,
    Watch,
    anchor_of,
    bert,
    classification,
    dict_evaluator,
    make,
    train,
)

from nni_magic.scoring.scorer import better
from nni_magic.search import ProgressiveShrinking


class Anchors(Watch):
    """Also remembers the anchor at every batch."""

    def __init__(self):
        super().__init__()
        self.anchors = []
        self.aligned = []

    def on_train_batch_end(self, trainer, module, *args):
        super().on_train_batch_end(trainer, module, *args)
        self.anchors.append(anchor_of(module).sample)
        self.aligned.append(sum(term.layers is not None for term in module.terms))


@pytest.mark.parametrize(("aligned", "plain"), [("magic_a", "spos"), ("magic_at", "magic_t")])
@pytest.mark.parametrize(
    ("space", "evaluator"), [(ConvSpace, classification), (bert, dict_evaluator)]
)
def test_without_weight_the_anchor_leaves_no_trace(aligned, plain, space, evaluator):
    """Not in weights, nor BatchNorm's buffers, nor the generators that dropout draws from."""
    runs = []
    walks = {"walks": 4} if plain == "magic_t" else {}
    off = {"alignment_weight": 0.0, "warmup_epochs": 0}
    for name, settings in ((aligned, {**walks, **off}), (plain, walks)):
        watch = Watch()
        torch.manual_seed(11)
        net = space()
        train(make(name, **settings), net, evaluator(watch))
        runs.append((watch.steps, net.state_dict()))
    (steps, state), (plain_steps, plain_state) = runs
    assert steps == plain_steps
    assert all(torch.equal(state[key], plain_state[key]) for key in plain_state)


class Counts(DictModule):
    """Counts rows before it calls the model, and keeps what it logs."""

    def __init__(self):
        super().__init__()
        self.rows = SumMetric()

    def training_step(self, batch, batch_idx):
        self.rows.update(len(batch["labels"]))
        self.log("rows", self.rows, on_epoch=True)
        return super().training_step(batch, batch_idx)


@pytest.mark.parametrize("name", ["magic_a", "average_alignment"])
def test_looking_for_the_layers_counts_no_batch_and_logs_nothing(name):
    results = []

    class Note(Watch):
        def on_train_batch_start(self, trainer, *args):
            results.extend(trainer._results)

    evaluator = dict_evaluator(Note(), epochs=1)
    evaluator.module = Counts()
    train(make(name, warmup_epochs=0), bert(), evaluator)
    assert evaluator.trainer.callback_metrics["rows"] == 24
    assert {key for key in results if "rows" in key} == {"training_step.rows"}


def test_alignment_begins_after_the_warm_start():
    watch = Anchors()
    evaluator = classification(watch)
    train(make("magic_a", warmup_epochs=2), ConvSpace(), evaluator)
    assert watch.anchors[:12] == [None] * 12
    assert None not in watch.anchors[12:]
    assert watch.aligned == [0] * 12 + [1] * 6
    assert "supernet/alignment_loss" not in watch.validations[1]
    assert evaluator.trainer.callback_metrics["supernet/alignment_loss"] > 0


@pytest.mark.parametrize("name", ["magic_a", "average_alignment", "percentile_anchor"])
@pytest.mark.parametrize(
    ("trainer", "epochs"), [({"epochs": 3}, 3), ({"epochs": -1, "max_steps": 7}, 2)]
)
def test_training_that_ends_before_anything_is_aligned_is_refused(name, trainer, epochs):
    strategy, watch = make(name, warmup_epochs=epochs), Watch()
    message = f"warmup_epochs is {epochs}; accepted are less than {epochs}, the epochs after which"
    with pytest.raises(ValueError, match=message):
        train(strategy, ConvSpace(), classification(watch, **trainer))
    assert watch.steps == []


def test_run_of_one_batch_to_try_the_code_is_not_refused():
    watch = Watch()
    train(make("magic_a", warmup_epochs=3), ConvSpace(), classification(watch, fast_dev_run=True))
    assert len(watch.steps) == 1


@pytest.mark.parametrize("name", ["magic_a", "magic_at"])
def test_given_anchor_stays_from_the_warm_start_to_the_end(name):
    space, watch = ConvSpace(), Anchors()
    given = {label: mutable.values[-1] for label, mutable in space.simplify().items()}
    strategy = make(name, anchor=given, warmup_epochs=1, anchor_interval=1)
    train(strategy, space, classification(watch))
    assert watch.anchors == [None] * 6 + [given] * 12
    assert anchor_of(strategy.oneshot_module).replacements == 0
    assert len({str(child) for child, _ in watch.steps}) > 1


@pytest.mark.parametrize(("change", "message"), [
    ({"block_1": "pool"}, "anchor: the sample's 'block_1' is 'pool'; accepted are"),
    ({"more": 1}, r"anchor: the sample is of another space: it has unknown labels \['more'\]"),
])  # fmt: skip
def test_given_anchor_of_another_space_is_refused_at_the_start(change, message):
    space, watch = ConvSpace(), Watch()
    given = {label: mutable.values[0] for label, mutable in space.simplify().items()}
    with pytest.raises(ValueError, match=message):
        train(make("magic_a", anchor=given | change), space, classification(watch))
    assert watch.steps == []


def test_first_anchor_is_the_best_of_the_candidates():
    strategy = make("magic_a", warmup_epochs=0, anchor_interval=1000, anchor_candidates=6)
    scored = []

    class Spy(Watch):
        def on_train_start(self, trainer, module):
            score = module.leaderboard.score

            def noted(sample):
                scored.append((sample, score(sample)))
                return scored[-1][1]

            anchor_of(module).score = noted

    train(strategy, ConvSpace(), classification(Spy()))
    assert len(scored) == 6
    assert anchor_of(strategy.oneshot_module).sample == min(scored, key=lambda pair: pair[1])[0]


def test_challengers_meet_the_anchor_on_the_same_weights():
    meetings = []

    class Spy(Watch):
        def on_train_start(self, trainer, module):
            score = anchor_of(module).score

            def noted(sample):
                weights = sum(float(p.double().sum()) for p in module.parameters())
                meetings.append((trainer.global_step, weights, sample, score(sample)))
                return meetings[-1][-1]

            anchor_of(module).score = noted

    strategy = make("magic_a", warmup_epochs=0, anchor_interval=1, anchor_candidates=2)
    train(strategy, ConvSpace(), classification(Spy()))
    anchor, replacements = None, 0
    for first, second in zip(meetings[::2], meetings[1::2], strict=False):
        assert first[:2] == second[:2]
        if anchor is not None:
            assert first[2] == anchor
        wins = better(second[3], first[3], "min")
        replacements += wins and anchor is not None
        anchor = second[2] if wins else first[2]
    assert anchor == anchor_of(strategy.oneshot_module).sample
    assert replacements == anchor_of(strategy.oneshot_module).replacements > 0


def test_alignment_changes_what_is_learned():
    losses = []
    for weight in (0.0, 5.0):
        watch = Watch()
        torch.manual_seed(11)
        train(
            make("magic_a", alignment_weight=weight, warmup_epochs=0),
            bert(),
            dict_evaluator(watch, epochs=20),
        )
        losses.append(watch.validations[-1]["supernet/alignment_loss"])
    assert losses[1] < losses[0]


def test_too_few_layers_fail_at_start():
    watch = Watch()
    with pytest.raises(ValueError, match="align_every is 9; accepted are 1 to 3, the number"):
        train(make("magic_a", align_every=9), ConvSpace(), classification(watch))
    assert watch.steps == []


def test_space_of_one_block_says_what_to_do_at_start():
    watch = Watch()
    with pytest.raises(ValueError, match=r"no layer can be aligned by itself, .*\(cell\). Pass al"):
        train(make("magic_a", align_every=None), CellSpace(), classification(watch))
    assert watch.steps == []


class Pair(nn.Module):
    """Gives what goes in beside what comes out, as the cells of NNI's hub do."""

    def __init__(self, block):
        super().__init__()
        self.block = block

    def forward(self, given):
        x = given[-1] if isinstance(given, list) else given
        return [x, self.block(x)]


class Listing(ConvSpace):
    """Layers that give lists."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(map(Pair, self.blocks))

    def hidden_layers(self):
        return list(self.blocks)

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x[-1].mean((2, 3)))


@pytest.mark.parametrize("name", ["magic_a", "average_alignment"])
def test_error_of_a_list_is_the_mean_over_its_tensors(name):
    terms = []
    for space, layers in ((Listing, [3]), (ConvSpace, [2, 3])):
        torch.manual_seed(11)
        settings = {"aligned_layers": layers, "warmup_epochs": 0, "alignment_weight": 0}
        train(make(name, **settings), space(), classification(watch := Watch()))
        terms.append(watch.validations[-1]["supernet/alignment_loss"])
    assert terms[0] > 0
    assert 2 * terms[0] == pytest.approx(terms[1])


def test_warm_start_and_layers_of_a_run_that_goes_on_for_longer_stay(tmp_path):
    def start(watch, epochs, checkpoint=None, **settings):
        torch.manual_seed(11)
        strategy = make("magic_a", **{"align_every": None, "warmup_epochs": None, **settings})
        return train(strategy, ConvSpace(), classification(watch, epochs=epochs), checkpoint)

    path = tmp_path / "stopped.ckpt"
    start(Watch(8, path), 3)
    strategy = start(after := Anchors(), 12, path)
    [term] = strategy.oneshot_module.terms
    assert (term.warm_start.epochs, term.chosen.names) == (1, ["blocks.2"])
    assert after.aligned == [1] * 64
    message = r"aligned_layers is \[2\]; accepted are \['blocks.2'\], which the run that is res"
    with pytest.raises(ValueError, match=message):
        start(Watch(), 12, path, aligned_layers=[2])


def test_training_that_goes_wrong_says_so_once(caplog):
    with caplog.at_level(logging.WARNING, logger="nni_magic"):
        train(
            make("magic_a", warmup_epochs=0, alignment_weight=1e4), ConvSpace(),
            classification(Watch()),
        )  # fmt: skip
    [told] = [message for message in caplog.messages if "takes over" in message]
    assert re.fullmatch(
        r"The alignment of layers blocks\.1, with weight 10000, takes over the training: in epoch "
        r"0 times the weight it was [\d.e+]+, beside a prediction loss of [\d.]+; use a smaller "
        r"alignment_weight, or other aligned_layers",
        told,
    )


@pytest.mark.parametrize("name", ["magic_a", "magic_at"])
def test_training_that_goes_well_says_nothing(name, caplog):
    with caplog.at_level(logging.WARNING, logger="nni_magic"):
        train(make(name), bert(), dict_evaluator(Watch()))
    assert not [message for message in caplog.messages if "takes over" in message]


def test_unknown_layer_fails_at_start():
    with pytest.raises(ValueError, match=r"aligned_layers holds 'trunk'; accepted are the numbers"):
        train(make("magic_a", aligned_layers=["trunk"]), ConvSpace(), classification(Watch()))


def test_unknown_mask_fails_at_start():
    watch = Watch()
    with pytest.raises(ValueError, match=r"mask_argument is 'padding'; accepted are .*BertSp"):
        train(make("magic_a", mask_argument="padding"), bert(), dict_evaluator(watch))
    assert watch.steps == []


@pytest.mark.parametrize("layers", [[2], ["repeat"], [1, "conv"]])
def test_layers_by_number_and_name(layers):
    watch = Watch()
    train(make("magic_a", aligned_layers=layers), MixedSpace(), classification(watch))
    assert watch.validations[-1]["supernet/alignment_loss"] > 0


class Wary(ConvSpace):
    """Forbids equal first blocks, and cannot even run such a child."""

    def __init__(self):
        super().__init__()
        first, second = (block.choice for block in self.children_with_choices()[:2])
        self.add_mutable(ExpressionConstraint(first != second, label="different"))

    def children_with_choices(self):
        return [module for module in self.modules() if hasattr(module, "choice")]

    def forward(self, x):
        first, second = self.children_with_choices()[:2]
        taken = [getattr(block, "_sampled", index) for index, block in enumerate((first, second))]
        assert taken[0] != taken[1] or taken[0] is None, "a forbidden child was run"
        return super().forward(x)


def test_forbidden_children_are_never_run():
    watch = Watch()
    train(make("magic_a", warmup_epochs=0), Wary(), classification(watch))
    assert len(watch.steps) == 18


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"alignment_weight": -0.1}, "alignment_weight is -0.1; accepted are finite numb"),
        ({"warmup_epochs": -1}, "warmup_epochs is -1; accepted are whole numbers of at least 0"),
        ({"warmup_epochs": True}, "warmup_epochs is True; accepted are whole numbers"),
        ({"align_every": 0}, "align_every is 0; accepted are whole numbers of at least 1"),
        ({"anchor_interval": 0}, "anchor_interval is 0; accepted are"),
        ({"anchor_candidates": 0}, "anchor_candidates is 0; accepted are"),
    ],
)
def test_settings_out_of_range(setting, message):
    with pytest.raises(ValueError, match=message):
        make("magic_a", **setting)


def test_second_fit_elects_its_own_anchor():
    strategy = make("magic_a", warmup_epochs=1)
    watch = Anchors()
    evaluator = classification(watch, epochs=2)
    train(strategy, ConvSpace(), evaluator)
    module, trainer = strategy.oneshot_module, evaluator.trainer
    again = Anchors()
    pl.Trainer(max_epochs=2, callbacks=[again], **QUIET).fit(
        module, evaluator.train_dataloaders, evaluator.val_dataloaders
    )
    assert trainer.current_epoch == 2
    assert again.anchors[:6] == [None] * 6
    assert None not in again.anchors[6:]


def test_mask_given_by_position_counts_as_well_as_by_keyword():
    class ByPosition(DictModule):
        def training_step(self, batch, batch_idx):
            mask = batch["attention_mask"]
            logits = self.model(batch["input_ids"], mask)
            return nn.functional.cross_entropy(logits[mask], batch["labels"][mask])

    losses = []
    for module, settings in (
        (DictModule(), {}), (ByPosition(), {}), (ByPosition(), {"mask_argument": None}),
    ):  # fmt: skip
        watch = Watch()
        evaluator = dict_evaluator(watch, epochs=1)
        evaluator.module = module
        torch.manual_seed(11)
        train(make("magic_a", warmup_epochs=0, **settings), bert(), evaluator)
        losses.append([loss for _, loss in watch.steps])
    assert losses[0] == losses[1] != losses[2]


def test_given_anchor_whose_candidate_was_deleted_is_no_hindrance_to_a_resume(tmp_path):
    space = ConvSpace()
    given = dict.fromkeys(space.simplify(), "drop")

    def start(watch, checkpoint=None):
        torch.manual_seed(11)
        shrinking = ProgressiveShrinking(n_drop=6, evaluations=20)
        strategy = make("magic_a", anchor=given, warmup_epochs=0, shrinking=shrinking)
        return train(strategy, ConvSpace(), classification(watch, epochs=4), checkpoint)

    strategy = start(whole := Watch())
    left = strategy.shrinking.history[1]["candidates"]
    assert any("drop" not in choices for choices in left.values())
    start(before := Watch(8, tmp_path / "stopped.ckpt"))
    start(after := Watch(), tmp_path / "stopped.ckpt")
    assert before.steps + after.steps == whole.steps
