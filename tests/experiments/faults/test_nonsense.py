"""Arguments that mean nothing are refused by name where objects are made; and nothing else is.

Samplers, strategies, searches, evaluators and statistics are given every nonsense value.
"""

import numpy as np
import pytest
import torch
from nni.runtime.msg_dispatcher_base import MsgDispatcherBase
from scores import Rows, lightning, rows
from spaces import ChainSpace, FlatSpace
from training import QUIET

from experiments.faults.meanings import STRATEGIES
from experiments.faults.nonsense import (
    Row,
    bad,
    campaign,
    either,
    flag,
    function,
    not_negative,
    nothing,
    number,
    one_of,
    positive,
    probability,
    seed,
    several,
    share,
    text,
    whole,
)  # fmt: skip
from nni_magic.analysis.during_training import LogInterference
from nni_magic.analysis.intervals import over_seeds
from nni_magic.analysis.ranking import random_ranking, rank
from nni_magic.analysis.seeds import compare, joint_interval, noise_ceiling
from nni_magic.children.constraints import Budget
from nni_magic.children.costs import CostSum, Summand
from nni_magic.manager.tuner import MagicTuner
from nni_magic.samplers import GradualSampler, UniformSampler
from nni_magic.samplers.interleaved import InterleavedSampler
from nni_magic.search import ChildEvaluator, Evolution, Population, ProgressiveShrinking
from nni_magic.search.latency import LatencyTable, table_error
from nni_magic.search.pareto import pareto_search
from nni_magic.strategies.by_cost import ByCost
from nni_magic.strategies.registry import METHODS
from nni_magic.support.epoch_sampler import EpochSampler
from nni_magic.tasks.evaluators import search_evaluator, training_evaluator
from nni_magic.tasks.language.masking import mask_tokens
from nni_magic.tasks.language.mlm import MaskedLanguageModel
from nni_magic.tasks.language.mlm_data import held_out_rule
from nni_magic.tasks.vision.classification import ImageClassification
from nni_magic.tasks.vision.images import stratified

SPACE = FlatSpace(3, 3, n_classes=4)
# An empty list holds no constraint, no hook and no child.
FILTER = either(nothing, function, lambda value: value in ([], (), [[]]) if _is_list(value) else 0)
HOOKS = either(nothing, lambda value: isinstance(value, list) and not value)

def _is_list(value):
    return isinstance(value, (list, tuple))


def START(value):  # noqa: N802
    """What can be iterated and holds nothing."""
    empty = isinstance(value, np.ndarray) and value.size == 0
    return empty or (isinstance(value, (str, bytes, list, tuple, set, dict)) and not value)


SEEDS = either(seed, several(seed))
SEED = either(nothing, seed)
MODE = either(nothing, one_of("min", "max"))
METRIC = either(nothing, text)
EVOLVED = {"crossover": probability, "mutation": probability, "filter": FILTER, "start": START}
SHARE = number(lambda value: 0 <= value < 1)


def TOP(value):  # noqa: N802
    """Ranks of the 20 children, or none."""
    return isinstance(value, (list, tuple)) and all(map(whole(1, 20), value))


def _numbers(value):
    return not isinstance(value, str) and np.shape(value) in ((2,), (3,))


def losses(samples):
    return [0.0] * len(samples)


def cost(sample):
    return 0.0


def a_cost_sum():
    return CostSum(0, [Summand({"a": [0, 1]}, lambda sample: sample["a"])])


def a_table():
    return LatencyTable.measure(ChainSpace(), torch.zeros(1, 1, 8, 8), repeats=1)


def _strategies():
    for method in METHODS.values():
        more = {"score_children": either(nothing, function)}
        more = more if method.name == "percentile_anchor" else {}
        more = {"cost": nothing} if issubclass(method.load(), ByCost) else more
        yield Row(method.load().__name__, method.load(), {
            **STRATEGIES[method.name], "filter": FILTER, "shrinking": nothing,
            "mutation_hooks": HOOKS, **more,
        })  # fmt: skip


def _samplers():
    some = {"space": SPACE, "seed": 0}
    walk = {"seed": SEEDS, "filter": FILTER, "k": whole(1, 3), "lazy": flag}
    yield Row("UniformSampler", UniformSampler, {"seed": SEEDS, "filter": FILTER}, some)
    yield Row("GradualSampler", GradualSampler, walk, some)
    yield Row(
        "InterleavedSampler", InterleavedSampler, {**walk, "walks": whole(1, 1000)},
        {**some, "walks": 2}, works=True,
    )  # fmt: skip
    yield Row("EpochSampler", EpochSampler, {"n_items": whole(1), "seed": seed}, {"n_items": 3})


def _searches():
    evaluator = lightning(Rows(), rows(), train=[])
    yield Row("Population", Population, {
        **EVOLVED, "seed": seed, "size": whole(1), "mode": one_of("min"), "tournament": whole(1),
    }, {"space": SPACE, "seed": 0})  # fmt: skip
    yield Row("Evolution", Evolution, {
        **EVOLVED, "generations": whole(1), "population": whole(1), "tournament": whole(1),
        "seed": SEED, "mode": MODE, "metric": METRIC, "n_batches": whole(1),
    })  # fmt: skip
    yield Row("ProgressiveShrinking", ProgressiveShrinking, {
        name: whole(1) for name in ("n_drop", "evaluations", "memory")
    })  # fmt: skip
    yield Row("ChildEvaluator", ChildEvaluator, {
        "evaluator": nothing, "metric": METRIC, "mode": MODE, "n_batches": whole(1),
        "calibration_batches": whole(0), "memory": whole(1),
    }, {"supernet": SPACE, "evaluator": evaluator})  # fmt: skip
    yield Row("pareto_search", pareto_search, {
        **EVOLVED, "costs": nothing, "seed": seed, "generations": whole(1), "population": whole(1),
        "mode": MODE, "known": either(nothing, lambda value: isinstance(value, dict)),
    }, {"space": FlatSpace(1, 2), "score": losses, "costs": {"cost": cost}, "seed": 0,
        "generations": 1, "population": 2}, works=True)  # fmt: skip
    measured = {"space": ChainSpace(), "args": torch.zeros(1, 1, 8, 8), "repeats": 1}
    yield Row("LatencyTable.measure", LatencyTable.measure, {
        "batch_size": whole(1, 2), "repeats": whole(1, 2), "device": nothing,
    }, measured, works=True)  # fmt: skip
    yield Row("table_error", table_error, {"n_children": whole(2, 3), "seed": SEEDS}, {
        "table": a_table(), **{name: measured[name] for name in ("space", "args")},
        "n_children": 2, "seed": 0,
    }, works=True)  # fmt: skip
    bound = either(nothing, number(lambda value: value <= 1))
    yield Row("Budget", Budget, {
        "min": bound, "max": bound, "profiler": nothing,
    }, {"profiler": a_cost_sum(), "min": 0})  # fmt: skip


def a_tuner(**arguments):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MsgDispatcherBase, "__init__", unconnected)
        MagicTuner(**arguments)


def unconnected(self):
    raise NotImplementedError  # there is no manager: the arguments were accepted


def _evaluators():
    fitted = {
        "total_steps": whole(1), "warmup_steps": whole(0, 5), "learning_rate": positive,
        "weight_decay": not_negative,
    }  # fmt: skip
    yield Row("ImageClassification", ImageClassification, {
        **fitted, "n_classes": whole(1), "momentum": share, "label_smoothing": SHARE,
        "channels_last": flag,
    }, {"n_classes": 10, "total_steps": 5})  # fmt: skip
    ids = {"vocab_size": 30, "pad_id": 1, "mask_id": 4, "special_ids": (0, 1, 2, 3, 4)}
    yield Row("MaskedLanguageModel", MaskedLanguageModel, {
        **fitted, "vocab_size": whole(5), "pad_id": whole(0, 29), "mask_id": whole(0, 29),
        "special_ids": several(whole(0, 29)), "optimizer": one_of("adam"), "betas": nothing,
        "eps": positive, "mask_probability": number(lambda value: 0 < value <= 1),
    }, {**ids, "total_steps": 5}, {"vocab_size": "(vocab_size|pad_id|mask_id)"})  # fmt: skip
    loaded = {"batch_size": whole(1, 20), "num_workers": whole(0, 1024)}
    some = {"module": Rows(), "validation": rows(), "batch_size": 4}
    yield Row("training_evaluator", training_evaluator, {
        **loaded, "total_steps": whole(1), "seed": seed,
    }, {**some, "train": rows(), "total_steps": 3, "trainer_kwargs": QUIET})  # fmt: skip
    yield Row("search_evaluator", search_evaluator, {**loaded, "batch_size": whole(1)}, some)
    yield Row("mask_tokens", mask_tokens, {
        "probability": number(lambda value: 0 < value <= 1),
    }, {"token_ids": torch.zeros(1, 2, dtype=torch.long), "vocab_size": 9, "mask_id": 4,
        "maskable": torch.ones(1, 2, dtype=torch.bool), "special_ids": ()})  # fmt: skip
    yield Row("held_out_rule", held_out_rule, {"fraction": share, "seed": whole(0, 2**64 - 1)}, {
        "documents": ["a", "b"], "fraction": 0.5, "seed": 0,
    }, {"fraction": "held_out"})  # fmt: skip
    yield Row("stratified", stratified, {"held_out": share, "seed": whole(0, 2**32 - 1)}, {
        "labels": torch.tensor([0, 1] * 9), "held_out": 0.5, "seed": 0,
    })  # fmt: skip
    yield Row("MagicTuner", a_tuner, {
        "generations": whole(1), "top_k": whole(0), "children": either(nothing, whole(1)),
        "baselines": lambda value: isinstance(value, (list, tuple)) and all(map(text, value)),
        "optimize_mode": one_of("maximize"),
    }, {"generations": 1}, works=True)  # fmt: skip


def _statistics():
    rng = np.random.default_rng(0)
    truth, scores = rng.normal(size=20), rng.normal(size=(2, 20))
    ranked = {"truth": truth, "scores": scores[0], "n_resamples": 100, "top_k": (2,)}
    yield Row("rank", rank, {
        "mode": one_of("min"), "top_k": TOP, "seed": SEEDS, "confidence": share,
        "n_resamples": whole(100), "scores": nothing,
    }, ranked, works=True)  # fmt: skip
    yield Row("random_ranking", random_ranking, {
        "mode": one_of("min"), "top_k": TOP, "confidence": share,
    }, {"truth": truth, "top_k": (2,)})  # fmt: skip
    yield Row("over_seeds", over_seeds, {"confidence": share, "taus": _numbers}, {
        "taus": [0.1, 0.2],
    })  # fmt: skip
    both = {"truth": truth, "scores": scores}
    yield Row("joint_interval", joint_interval, {"confidence": share}, both)
    yield Row("compare", compare, {"confidence": share}, {
        "truth": truth, "scores_a": scores, "scores_b": rng.normal(size=(2, 20)),
    })  # fmt: skip
    yield Row("noise_ceiling", noise_ceiling, {
        "runs": whole(1), "n_resamples": whole(100), "seed": SEEDS, "confidence": share,
    }, {"repeated": rng.normal(size=(20, 2)), "n_resamples": 100}, works=True)  # fmt: skip
    yield Row("LogInterference", LogInterference, {"every_n_steps": whole(1)})


OTHERS = [*_strategies(), *_samplers(), *_searches(), *_evaluators(), *_statistics()]


@pytest.mark.parametrize("row", OTHERS, ids=lambda row: row.name)
def test_arguments_that_mean_nothing_are_refused_by_name(row):
    assert bad(campaign([row])) == []
