"""The strategy around the module: what NNI asks of it."""

import logging

import pytest
import torch
from nni.nas.oneshot.pytorch.strategy import RandomOneShot
from nni.nas.profiler.pytorch.flops import NumParamsProfiler
from spaces import ConvSpace
from training import (
    STRATEGIES,
    DictModule,
    Watch,
    classification,
    make,
    train,
)

import nni_magic.strategies


@pytest.mark.parametrize("name", STRATEGIES)
def test_is_a_random_one_shot(name):
    assert isinstance(make(name), RandomOneShot)
    assert type(make(name)).__name__ in nni_magic.strategies.__all__


def test_filter_may_be_a_dict_as_in_nni():
    profiler = NumParamsProfiler(ConvSpace(), torch.randn(1, 1, 8, 8))
    watch = Watch()
    limit = profiler.profile(dict.fromkeys(ConvSpace().simplify(), "conv1"))
    train(
        make("spos", filter={"profiler": profiler, "max": limit}),
        ConvSpace(),
        classification(watch),
    )
    assert all(profiler.profile(child) <= limit for child, _ in watch.steps)


def test_more_models_than_are_known_gives_those_and_a_warning(caplog):
    strategy = train(make("spos"), ConvSpace(), classification(Watch()))
    with caplog.at_level(logging.WARNING):
        assert len(list(strategy.list_models(limit=50))) == 3
    assert "50 models are requested, but 3 are known" in caplog.text


def test_unsorted_models_are_refused():
    strategy = train(make("spos"), ConvSpace(), classification(Watch()))
    with pytest.raises(ValueError, match="sort is False; accepted is True: one-shot strateg"):
        list(strategy.list_models(sort=False))


@pytest.mark.parametrize("name", ["module_class", "module_settings"])
def test_strategy_written_for_03_is_refused_and_not_trained_as_another(name):
    with pytest.raises(TypeError, match=f"Mine has '{name}', which 0.3 asked for"):
        type("Mine", (nni_magic.strategies.SPOS,), {name: None})


def test_module_before_the_space_says_what_is_missing():
    with pytest.raises(RuntimeError, match="configure_oneshot_module is called before mutate_mo"):
        make("spos").configure_oneshot_module(DictModule())


@pytest.mark.parametrize(("trainer", "name"), [
    ({"epochs": 0}, "max_epochs"), ({"max_steps": 0}, "max_steps"),
    ({"limit_train_batches": 0}, "limit_train_batches"),
])  # fmt: skip
def test_trainer_that_would_not_train_is_refused(trainer, name):
    with pytest.raises(ValueError, match=f"{name} of the evaluator's trainer is 0; accepted are"):
        train(make("spos"), ConvSpace(), classification(Watch(), **trainer))
