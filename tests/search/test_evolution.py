"""Evolution with stubs for the score, and over a supernet as an NNI strategy and experiment."""

import io
import itertools
import json
import logging

import nni
import pytest
import torch
from nni.nas.evaluator.functional import FunctionalEvaluator
from nni.nas.evaluator.pytorch import Classification, DataLoader
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.experiment import NasExperiment
from nni.nas.experiment.config import NasExperimentConfig
from nni.nas.space import RawFormatModelSpace, SimplifiedModelSpace
from spaces import FlatSpace, SizedSpace, supernet
from training import QUIET, Stop

from nni_magic.scoring.scored import ScoredChild
from nni_magic.search import evolution as module
from nni_magic.search.evaluation import ChildEvaluator
from nni_magic.search.evolution import Evolution

SMALL = {"generations": 4, "population": 6, "seed": 2}
WEIGHTS = (0.7, -0.3, 0.2, -0.9, 0.5)


def score(samples):
    return [
        sum(weight * choice for weight, choice in zip(WEIGHTS, sample.values(), strict=True))
        for sample in samples
    ]


class StopsAfter:
    """Scores some generations, then is stopped like a killed process."""

    def __init__(self, generations, score=score):
        self.left, self.score = generations, score

    def __call__(self, samples):
        if self.left == 0:
            raise Stop
        self.left -= 1
        return self.score(samples)


def rows(n):
    return torch.utils.data.TensorDataset(
        torch.randn(n, 4, generator=torch.Generator().manual_seed(0)), torch.arange(n) % 3
    )


def classification(**settings):
    return Classification(
        num_classes=3, train_dataloaders=DataLoader(rows(8), batch_size=4),
        val_dataloaders=DataLoader(rows(12), batch_size=6), **{**QUIET, **settings},
    )  # fmt: skip


def weights_alike():
    torch.manual_seed(0)
    return supernet(FlatSpace(3, 3, n_classes=3))


# Search with any score


def test_search_finds_the_optimum_and_ranks_all_it_scored():
    scored = []

    def remembering(samples):
        scored.extend(samples)
        return score(samples)

    ranked = Evolution(generations=12, population=20, seed=0).search(FlatSpace(5, 3), remembering)
    assert len(ranked) == len(scored) == 240
    assert {type(child) for child in ranked} == {ScoredChild}
    assert [child.score for child in ranked] == sorted(score(scored))
    everything = itertools.product(range(3), repeat=5)
    best = min(sum(map(float.__mul__, WEIGHTS, map(float, each))) for each in everything)
    assert ranked[0].score == pytest.approx(best)


def test_search_ends_when_no_child_is_left(caplog):
    with caplog.at_level(logging.INFO, "nni_magic"):
        ranked = Evolution(generations=9, population=20, seed=0).search(
            FlatSpace(3, 3), lambda samples: range(len(samples))
        )
    assert len(ranked) == 27
    assert "No further child is found; the search ends" in caplog.text


def test_settings_reach_the_population():
    start = {"block_1": "skip", "block_2": "linear", "block_3": "skip", "block_4": "skip"}
    asked = []

    def n_linear(samples):
        asked.append(samples)
        return [list(sample.values()).count("linear") for sample in samples]

    evolution = Evolution(
        generations=3, population=2, seed=0, mode="max", start=[start],
        filter=lambda sample: sample["block_1"] == "skip",
    )  # fmt: skip
    ranked = evolution.search(SizedSpace(), n_linear)
    assert asked[0][0] == start
    assert [len(samples) for samples in asked] == [2, 2, 2]
    assert all(sample["block_1"] == "skip" for samples in asked for sample in samples)
    scores = [child.score for child in ranked]
    assert scores == sorted(scores, reverse=True)


def test_one_line_is_logged_for_each_generation(caplog):
    with caplog.at_level(logging.INFO, "nni_magic"):
        Evolution(**SMALL).search(FlatSpace(5, 3), score)
    lines = [r.message for r in caplog.records if r.levelno == logging.INFO]
    assert len(lines) == 4
    assert lines[3].startswith("Generation 4 of 4: 6 children scored, the best has -")


def plain(state):
    return json.loads(json.dumps(state))


def through_torch(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize("saved", [plain, through_torch])
def test_search_stopped_after_any_generation_can_be_resumed(saved):
    space = FlatSpace(5, 3)
    whole = Evolution(**SMALL)
    ranked = whole.search(space, score)
    for done in range(4):
        stopped = Evolution(**SMALL)
        with pytest.raises(Stop):
            stopped.search(space, StopsAfter(done))
        resumed = Evolution(**{**SMALL, "seed": 77})
        resumed.load_state_dict(saved(stopped.state_dict()))
        assert resumed.state_dict() == stopped.state_dict()
        assert resumed.search(space, StopsAfter(4 - done)) == ranked
        assert resumed.state_dict() == whole.state_dict()


def test_state_before_a_search_is_empty_and_changes_nothing():
    fresh = Evolution(**SMALL)
    assert fresh.state_dict() == {}
    fresh.load_state_dict({})
    assert fresh.search(FlatSpace(5, 3), score) == Evolution(**SMALL).search(FlatSpace(5, 3), score)


def test_state_is_taken_by_the_next_search_and_by_no_later_one():
    space = FlatSpace(5, 3)
    whole, resumed = Evolution(**SMALL), Evolution(**{**SMALL, "seed": 77})
    ranked = whole.search(space, score)
    resumed.load_state_dict(whole.state_dict())
    assert resumed.search(space, StopsAfter(0)) == ranked
    assert resumed.search(space, score) == Evolution(**{**SMALL, "seed": 77}).search(space, score)


def test_state_that_a_search_could_not_take_is_kept():
    state = Evolution(**SMALL)
    state.search(FlatSpace(5, 3), score)
    resumed = Evolution(**SMALL)
    resumed.load_state_dict(state.state_dict())
    with pytest.raises(ValueError, match="is not in the space"):
        resumed.search(FlatSpace(4, 3), score)
    assert resumed.state_dict() == state.state_dict()


def test_drawn_seed_is_logged_and_repeats_the_search(caplog):
    first = Evolution(generations=2, population=5)
    assert f"drew {first.seed}" in caplog.text
    again = Evolution(generations=2, population=5, seed=first.seed)
    assert first.search(FlatSpace(5, 3), score) == again.search(FlatSpace(5, 3), score)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"generations": 0}, "generations is 0; accepted are whole numbers"),
        ({"population": 0}, "population size is 0; accepted are whole numbers of at least 1"),
        ({"tournament": 0}, "tournament is 0; accepted are whole numbers"),
        ({"crossover": 3}, "crossover is 3; accepted are numbers from 0 to 1"),
        ({"mutation": -0.1}, "mutation is -0.1; accepted are numbers from 0 to 1"),
        ({"mode": "best"}, "mode is 'best'; accepted are 'min', 'max'"),
    ],
)
def test_settings_out_of_range_are_refused_before_a_search(setting, message):
    with pytest.raises(ValueError, match=message):
        Evolution(**{**SMALL, **setting})


def test_score_of_the_other_direction_is_refused():
    score_of_max = StopsAfter(0)
    score_of_max.mode = "max"
    with pytest.raises(ValueError, match="mode is 'min', but that of the score is 'max'"):
        Evolution(**SMALL, mode="min").search(FlatSpace(), score_of_max)


def test_direction_is_by_default_that_of_the_score():
    def score(samples):
        return [float(sum(sample.values())) for sample in samples]

    assert Evolution(**SMALL).search(FlatSpace(), score)[0].score == 0
    score.mode = "max"
    assert Evolution(**SMALL).search(FlatSpace(), score)[0].score == 6


def test_mode_of_a_metric_whose_name_does_not_tell_is_asked_for_at_once():
    with pytest.raises(ValueError, match=r"mode is None; accepted are .* metric 'reward' does not"):
        Evolution(seed=0, metric="reward")


# As a strategy of NNI


@pytest.mark.parametrize(("metric", "mode"), [(None, "min"), ("val_acc", "max")])
def test_strategy_lists_the_best_children_with_inherited_weights(metric, mode):
    net, evaluator = weights_alike(), classification()
    strategy = Evolution(**SMALL, metric=metric, n_batches=2)
    strategy(RawFormatModelSpace.from_model(net, evaluator), SequentialExecutionEngine())
    models = list(strategy.list_models(limit=None))
    assert len(models) == 24
    evaluate = ChildEvaluator(weights_alike(), classification(), metric=metric, mode=mode)
    scores = evaluate([model.sample for model in models])
    assert [model.metric for model in models] == pytest.approx(scores)
    assert scores == sorted(scores, reverse=mode == "max")
    assert [model.sample for model in strategy.list_models()] == [models[0].sample]

    inputs, labels = rows(12).tensors
    with torch.no_grad():
        logits = models[0].executable_model()(inputs)
    if mode == "max":
        assert models[0].metric == pytest.approx((logits.argmax(1) == labels).float().mean().item())
    else:
        assert models[0].metric == pytest.approx(
            torch.nn.functional.cross_entropy(logits, labels).item(), rel=1e-5
        )


def test_list_models_says_what_it_cannot_do(caplog):
    strategy = Evolution(**SMALL)
    with pytest.raises(RuntimeError, match="Evolution has not run"):
        next(strategy.list_models())
    strategy(
        RawFormatModelSpace.from_model(weights_alike(), classification()),
        SequentialExecutionEngine(),
    )
    with pytest.raises(ValueError, match="sort is False; accepted is True"):
        next(strategy.list_models(sort=False))
    assert len(list(strategy.list_models(limit=99))) == 24
    assert "99 models are requested, but 24 are known" in caplog.text


def experiment(folder, id=None, **settings):
    config = NasExperimentConfig("sequential", "raw", "local")
    config.experiment_working_directory = str(folder)
    strategy = Evolution(**{**SMALL, **settings})
    return NasExperiment(weights_alike(), classification(), strategy, config, id)


def test_experiment_stopped_in_any_generation_is_resumed(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    whole = experiment(tmp_path)
    whole.run()
    whole.stop()
    models = whole.export_top_models(top_k=24)
    assert len(models) == 24
    for done in (0, 2, 3):
        stopped = experiment(tmp_path)
        with monkeypatch.context() as patch:
            patch.setattr(
                module, "ChildEvaluator",
                lambda *args, n=done, **kwargs: StopsAfter(n, ChildEvaluator(*args, **kwargs)),
            )  # fmt: skip
            with pytest.raises(Stop):
                stopped.run()
        stopped.stop()
        resumed = experiment(tmp_path, stopped.id, seed=77)
        resumed.resume()
        assert resumed.strategy.state_dict() == whole.strategy.state_dict()
        again = resumed.export_top_models(top_k=24)
        assert [(m.sample, m.metric) for m in again] == [(m.sample, m.metric) for m in models]
        resumed.stop()


class OtherEngine(SequentialExecutionEngine.__base__):
    """Stands for the training service's engine, which needs a manager."""


def test_other_engines_formats_and_evaluators_are_refused():
    raw, simplified = RawFormatModelSpace.from_model, SimplifiedModelSpace.from_model
    sequential = SequentialExecutionEngine()
    with pytest.raises(TypeError, match=r"OtherEngine.*accepted are a SequentialExec.* and"):
        Evolution(**SMALL)(raw(FlatSpace(), classification()), OtherEngine())
    with pytest.raises(TypeError, match=r"SimplifiedModelSpace.*NasExperimentConfig\('sequential'"):
        Evolution(**SMALL)(simplified(FlatSpace(), classification()), sequential)
    with pytest.raises(TypeError, match=r"evaluator is a FunctionalEvaluator; accepted are NNI"):
        Evolution(**SMALL)(raw(FlatSpace(), FunctionalEvaluator(print)), sequential)
    choosy = classification(learning_rate=nni.choice("lr", [0.1, 0.01]))
    with pytest.raises(ValueError, match=r"the evaluator has choices of its own.*'lr'"):
        Evolution(**SMALL)(raw(FlatSpace(), choosy), sequential)
