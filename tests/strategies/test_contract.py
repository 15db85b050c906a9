"""What every strategy promises, on every kind of space and evaluator."""

import itertools

import pytest
import torch
from nni.nas.evaluator.pytorch import DataLoader
from nni.nas.experiment import NasExperiment
from nni.nas.space import model_context
from pytorch_lightning.callbacks import ModelCheckpoint
from spaces import CellSpace, ConvSpace, MixedSpace
from torch.utils.data import IterableDataset
from training import (
    ABLATIONS,
    ALIGNING,
    ANCHORED,
    EVERY,
    STRATEGIES,
    Watch,
    anchor_of,
    bert,
    classification,
    dict_evaluator,
    images,
    make,
    train,
)

from nni_magic.children.samples import distance

torch.set_num_threads(1)

BERT, CNN, MIXED, CELL = "bert", "cnn", "mixed", "cell"
SPACES = {BERT: bert, CNN: ConvSpace, MIXED: MixedSpace, CELL: CellSpace}
EVALUATORS = {
    BERT: dict_evaluator, CNN: classification, MIXED: classification, CELL: classification,
}  # fmt: skip
# The last two have fewer blocks in order of execution than ``align_every`` of ``make`` expects.
OWN = {MIXED: {"align_every": 1}, CELL: {"align_every": 1}}

every_strategy = pytest.mark.parametrize("name", EVERY)
every_space = pytest.mark.parametrize("kind", SPACES)


def settings(name, kind):
    return OWN.get(kind, {}) if name in ALIGNING else {}


def run(name, kind, stop_after=None, path=None, checkpoint=None, **more):
    watch = Watch(stop_after, path)
    torch.manual_seed(11)
    space = SPACES[kind]()
    strategy = make(name, **{**settings(name, kind), **more})
    train(strategy, space, EVALUATORS[kind](watch), checkpoint)
    return strategy, watch


@every_strategy
@every_space
def test_fits_and_exports_a_valid_child(name, kind):
    strategy, watch = run(name, kind)
    assert len(watch.steps) == {BERT: 12}.get(kind, 18)
    assert all(loss == loss for _, loss in watch.steps)
    [best] = strategy.list_models()
    assert strategy.supernet.contains(best.sample)
    assert best.sample == strategy.oneshot_module.export()
    assert best.sample.keys() == strategy.supernet.simplify().keys()


@every_strategy
@every_space
def test_same_seed_gives_the_same_children_and_losses(name, kind):
    first, second = run(name, kind)[1], run(name, kind)[1]
    assert first.steps == second.steps
    assert first.validations == second.validations
    assert run(name, kind, seed=4)[1].steps != first.steps


@pytest.mark.parametrize(
    ("name", "kind", "stop_after"),
    [
        *itertools.product(STRATEGIES, [BERT, CNN], [1, 4, 6, 7, 11]),
        *((name, CNN, 7) for name in [*ABLATIONS, "twins"]),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in itertools.product(ABLATIONS, [BERT, CNN], [1, 4, 6, 11])
        ),
    ],
)
def test_stopped_run_goes_on_as_if_it_had_not_stopped(name, kind, stop_after, tmp_path):
    whole_strategy, whole = run(name, kind)
    path = tmp_path / "stopped.ckpt"
    _, before = run(name, kind, stop_after, path)
    strategy, after = run(name, kind, checkpoint=path)
    assert len(before.steps) == stop_after
    assert before.steps + after.steps == whole.steps
    assert after.validations[-1] == whole.validations[-1]
    for a, b in zip(
        strategy.supernet.state_dict().values(),
        whole_strategy.supernet.state_dict().values(),
        strict=True,
    ):
        assert torch.equal(a, b)
    assert strategy.oneshot_module.best_children() == whole_strategy.oneshot_module.best_children()


@every_strategy
def test_run_that_was_over_when_it_was_stopped_lists_the_same(name, tmp_path):
    torch.manual_seed(11)
    space, evaluator = bert(), dict_evaluator(Watch())
    # As Lightning itself saves, after the module's own end of the epoch.
    saved = ModelCheckpoint(tmp_path, "{epoch}", save_top_k=-1, save_on_train_epoch_end=True)
    evaluator.trainer.callbacks.append(saved)
    whole = train(make(name), space, evaluator)
    strategy, after = run(name, BERT, checkpoint=tmp_path / "epoch=2.ckpt")
    assert after.steps == []
    assert strategy.oneshot_module.best_children() == whole.oneshot_module.best_children()


@every_strategy
def test_run_goes_on_from_a_validation_within_an_epoch(name, tmp_path):
    def evaluator(watch, *callbacks):
        found = classification(watch, val_check_interval=3)
        found.trainer.callbacks.extend(callbacks)
        return found

    def start(watch, *callbacks, checkpoint=None):
        torch.manual_seed(11)
        return train(make(name), ConvSpace(), evaluator(watch, *callbacks), checkpoint)

    # Lightning's callbacks save before the strategy has ended the validation.
    saves = ModelCheckpoint(tmp_path, "{step}", save_top_k=-1, save_on_train_epoch_end=False)
    start(whole := Watch(), saves)
    assert {path.stem for path in tmp_path.iterdir()} == {f"step={n}" for n in range(3, 19, 3)}
    for n in (3, 9, 12):
        start(after := Watch(), checkpoint=tmp_path / f"step={n}.ckpt")
        assert after.steps == whole.steps[n:]


class Stream(IterableDataset):
    """Images without a length, which Lightning reads ahead."""

    def __iter__(self):
        return iter(images())


@pytest.mark.parametrize("stop_after", [4, 6, 8, 12])
def test_stopped_run_goes_on_with_data_without_length(stop_after, tmp_path, name="magic_t"):
    def start(watch, checkpoint=None):
        torch.manual_seed(11)
        evaluator = classification(watch)
        evaluator.train_dataloaders = DataLoader(Stream(), batch_size=8)
        return train(make(name), ConvSpace(), evaluator, checkpoint)

    start(whole := Watch())
    start(before := Watch(stop_after, path := tmp_path / "stopped.ckpt"))
    start(after := Watch(), path)
    assert len(whole.steps) == 18
    assert before.steps + after.steps == whole.steps


@pytest.mark.parametrize("epoch", [0, 1])
def test_data_without_length_are_not_passed_over_from_the_end_of_an_epoch(epoch, tmp_path):
    def start(watch, checkpoint=None, callbacks=()):
        torch.manual_seed(11)
        evaluator = classification(watch)
        evaluator.train_dataloaders = DataLoader(Stream(), batch_size=8)
        evaluator.trainer.callbacks.extend(callbacks)
        return train(make("spos"), ConvSpace(), evaluator, checkpoint)

    start(whole := Watch(), callbacks=[ModelCheckpoint(tmp_path, "{epoch}", save_top_k=-1)])
    start(after := Watch(), tmp_path / f"epoch={epoch}.ckpt")
    assert after.steps == whole.steps[6 * (epoch + 1) :]


@every_strategy
def test_stopped_run_goes_on_in_a_mixed_space(name, tmp_path):
    whole = run(name, MIXED)[1]
    path = tmp_path / "stopped.ckpt"
    before = run(name, MIXED, 8, path)[1]
    assert before.steps + run(name, MIXED, checkpoint=path)[1].steps == whole.steps


@every_strategy
def test_listed_models_have_scores_and_run_stand_alone(name):
    strategy, _ = run(name, CNN)
    models = list(strategy.list_models(limit=3))
    assert len(models) == 3
    scores = [model.metric for model in models]
    assert scores == sorted(scores)
    for model in models:
        inherited = model.executable_model().eval()
        with model_context(model.sample):
            child = ConvSpace().eval()
        child.load_state_dict(inherited.state_dict())
        x = torch.randn(2, 1, 8, 8)
        torch.testing.assert_close(child(x), inherited(x))


@every_strategy
def test_a_metric_to_maximise_puts_the_largest_first(name):
    strategy, _ = run(name, CNN, metric="val_acc", mode="max")
    scores = [model.metric for model in strategy.list_models(limit=None)]
    assert len(scores) >= 3
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)


@every_strategy
def test_validation_logs_the_evaluators_metrics_of_fixed_children(name):
    strategy, watch = run(name, CNN)
    assert watch.validations[0]["supernet/validated_children"] == 3
    assert {"val_loss", "val_acc"} <= watch.validations[-1].keys()
    module = strategy.oneshot_module
    children = module.validation.children
    assert children == ([anchor_of(module).sample] if name in ANCHORED else module.validation.panel)


@every_strategy
def test_validation_does_not_move_the_walk(name):
    often = Watch()
    torch.manual_seed(11)
    train(make(name), ConvSpace(), classification(often, val_check_interval=2))
    seldom = Watch()
    torch.manual_seed(11)
    train(make(name), ConvSpace(), classification(seldom))
    assert len(often.validations) > len(seldom.validations)
    assert often.steps == seldom.steps


@every_strategy
def test_accumulated_batches_share_a_child(name):
    watch = Watch()
    train(make(name), ConvSpace(), classification(watch, accumulate_grad_batches=3))
    children = [child for child, _ in watch.steps]
    assert len(children) == 18
    for i in range(0, 18, 3):
        assert children[i] == children[i + 1] == children[i + 2]
    if name in ("magic_t", "magic_at"):
        assert all(distance(children[i], children[i + 3]) == 1 for i in range(0, 15, 3))


@every_strategy
def test_filter_holds_for_every_child(name):
    def allowed(sample):
        return sum(choice == "skip" for choice in sample.values()) <= 1

    strategy, watch = run(name, CNN, filter=allowed)
    assert all(allowed(child) for child, _ in watch.steps)
    assert all(allowed(model.sample) for model in strategy.list_models(limit=None))


@every_strategy
def test_works_with_autocast(name):
    # An anchor's pass before the child's would leave weights without gradient in autocast's cache.
    watch, space = Watch(), bert()
    before = {key: value.clone() for key, value in space.named_parameters()}
    train(make(name), space, dict_evaluator(watch, precision="bf16-mixed"))
    assert len(watch.steps) == 12
    still = [
        key
        for key, value in space.named_parameters()
        if "operator" not in key and torch.equal(value, before[key])
    ]
    assert still == []


@every_strategy
def test_runs_as_an_nni_experiment(name, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    experiment = NasExperiment(ConvSpace(), classification(Watch(), epochs=2), make(name))
    experiment.config.experiment_working_directory = str(tmp_path)
    experiment.run()
    experiment.stop()
    samples = experiment.export_top_models(top_k=2, formatter="dict")
    assert len(samples) == 2
    assert all(ConvSpace().contains(sample) for sample in samples)


@every_strategy
def test_drawn_seed_is_logged_and_can_be_repeated(name, caplog):
    first, watch = make(name, seed=None), Watch()
    assert f"drew {first.seed}" in caplog.text
    torch.manual_seed(11)
    train(first, ConvSpace(), classification(watch))
    again = Watch()
    torch.manual_seed(11)
    train(make(name, seed=first.seed), ConvSpace(), classification(again))
    assert again.steps == watch.steps
    assert make(name, seed=None).seed != first.seed


@every_strategy
def test_unknown_metric_fails_before_training(name):
    watch = Watch()
    with pytest.raises(ValueError, match=r"metric is 'val_f1'; .* logs, \['val_acc', 'val_loss'\]"):
        train(make(name, metric="val_f1"), ConvSpace(), classification(watch))
    assert watch.steps == []


@every_strategy
def test_space_without_choices_is_refused(name):
    from nni.nas.nn.pytorch import ModelSpace

    class Fixed(ModelSpace):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(2, 2)

    with pytest.raises(ValueError, match="Fixed has no choices"):
        train(make(name), Fixed(), classification(Watch()))


@every_strategy
def test_checkpoint_of_another_method_is_refused(name, tmp_path):
    path = tmp_path / "stopped.ckpt"
    others = {"spos": "magic_t", "magic_a": "magic_at", "magic_t_walks": "magic_t"}
    other = others.get(name, "spos")
    run(other, CNN, 2, path)
    with pytest.raises(ValueError, match=r"was written by \w+ with \w+, and \w+ with \w+ cannot"):
        run(name, CNN, checkpoint=path)


@every_strategy
@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"mode": "best"}, "mode is 'best'; accepted are 'min', 'max'"),
        ({"validation_batches": 0}, "validation_batches is 0; accepted are whole numbers"),
        ({"validation_children": 1.5}, "validation_children is 1.5; accepted are whole numbers"),
    ],
)
def test_settings_out_of_range(name, setting, message):
    with pytest.raises(ValueError, match=message):
        make(name, **setting)
