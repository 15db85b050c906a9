"""What every strategy promises, on every kind of space and evaluator."""

import pytest
import torch
from contract import (
    BERT,
    CNN,
    FILTER,
    SPACES,
    every_strategy,
    every_strategy_and_space,
    refused,
    run,
)
from nni.nas.experiment import NasExperiment
from nni.nas.space import model_context
from spaces import ConvSpace
from training import (
    ANCHORED,
    Watch,
    anchor_of,
    bert,
    classification,
    dict_evaluator,
    make,
    train,
)

from nni_magic.children.samples import distance

torch.set_num_threads(1)


@every_strategy_and_space(*SPACES)
def test_fits_and_exports_a_valid_child(name, kind):
    if refused(name, kind, lambda: run(name, kind)):
        return
    strategy, watch = run(name, kind)
    assert len(watch.steps) == {BERT: 12}.get(kind, 18)
    assert all(loss == loss for _, loss in watch.steps)
    [best] = strategy.list_models()
    assert strategy.supernet.contains(best.sample)
    assert best.sample == strategy.oneshot_module.export()
    assert best.sample.keys() == strategy.supernet.simplify().keys()


@every_strategy_and_space(CNN)
def test_same_seed_gives_the_same_children_and_losses(name, kind):
    if refused(name, kind, lambda: run(name, kind)):
        return
    first, second = run(name, kind)[1], run(name, kind)[1]
    assert first.steps == second.steps
    assert first.validations == second.validations
    assert run(name, kind, seed=4)[1].steps != first.steps


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
    strategy, _ = run(name, CNN, metric="val_acc")
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
    if name == "magic_t":
        assert all(distance(children[i], children[i + 3]) == 1 for i in range(0, 15, 3))


@every_strategy
def test_filter_holds_for_every_child(name):
    def allowed(sample):
        return sum(choice == "skip" for choice in sample.values()) <= 1

    if refused(name, FILTER, lambda: run(name, CNN, filter=allowed)):
        return
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
