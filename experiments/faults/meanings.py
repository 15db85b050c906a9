"""What every setting accepts, written down once more and independently of the code."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from experiments.faults.nonsense import (
    Row,
    either,
    flag,
    not_negative,
    nothing,
    number,
    one_of,
    path,
    percent,
    positive,
    seed,
    several,
    share,
    text,
    whole,
)
from nni_magic.programs import concerns, settings
from nni_magic.strategies.registry import METHODS
from nni_magic.tasks.language.settings import BertSettings
from nni_magic.tasks.settings import TaskSettings
from nni_magic.tasks.teaching import TaskTeacher, Teacher
from nni_magic.tasks.vision.settings import ProxylessSettings

__all__ = ["SETTINGS", "STRATEGIES"]

OPTIONAL_COUNT = either(nothing, whole(1))
# Those of the strategies are taken of numpy, too.
FLAG = either(flag, lambda value: isinstance(value, np.bool_))
LAYERS = either(
    nothing, several(either(whole(1), text)),
    lambda value: isinstance(value, np.ndarray) and value.ndim == 1 and all(map(whole(1), value)),
)  # fmt: skip
METHOD = {
    "seed": either(nothing, seed), "metric": either(nothing, text),
    "mode": either(nothing, one_of("min", "max")), "validation_batches": whole(1),
    "calibration_batches": whole(0), "not_finite": one_of("stop", "skip"),
}  # fmt: skip
SUPERNET = {**METHOD, "validation_children": whole(1)}
MIXTURE = {
    **METHOD, "arc_learning_rate": positive, "bilevel": FLAG, "arc_warmup_epochs": whole(0),
}  # fmt: skip
WALK = {"k": whole(1), "lazy": FLAG, "walks": whole(1)}
ALIGNED = {
    "alignment_weight": not_negative, "alignment_error": one_of("mse", "relative", "cosine"),
    "align_every": OPTIONAL_COUNT, "aligned_layers": LAYERS,
    "mask_argument": either(nothing, text), "warmup_epochs": either(nothing, whole(0)),
}  # fmt: skip
BEST = {
    "anchor": either(nothing, lambda value: isinstance(value, dict) and len(value) > 0),
    "anchor_gradient": FLAG,
    "anchor_interval": whole(1), "anchor_candidates": whole(1),
}  # fmt: skip
TURNS = {"turn_by_turn": FLAG}
DISTILLED = {**TURNS, "n_random": whole(0), "mask_argument": either(nothing, text)}
SANDWICH = {**DISTILLED, "temperature": positive}
SEARCH_BY = one_of("evolution", "boosting", "gaussian_process")
STRATEGIES = {
    "spos": SUPERNET,
    "magic_t": {**SUPERNET, **WALK},
    "magic_a": {**SUPERNET, **ALIGNED, **BEST},
    "magic_at": {**SUPERNET, **WALK, **ALIGNED, **BEST},
    "fairnas": {**SUPERNET, **TURNS},
    "sandwich": {**SUPERNET, **SANDWICH},
    "alphanet": {
        **SUPERNET, **DISTILLED, "alpha_min": number(lambda value: value < 1),
        "alpha_max": number(lambda value: value > -1), "ratio_clip": positive,
    },
    "attentive_nas": {
        **SUPERNET, **SANDWICH, "draws": whole(1), "pick": one_of("best_up", "worst_up"),
    },
    "multi_architecture": {**SUPERNET, **TURNS, "children": whole(1)},
    "delayed_shrinking": {
        **SUPERNET, **SANDWICH, "delay": number(lambda value: 0 <= value < 1),
        "epsilon": number(lambda value: 0 <= value <= 1),
        "rise": number(lambda value: 0 <= value <= 1),
    },
    "shiftnas": {**SUPERNET, "cost_groups": whole(2), "shift_temperature": positive},
    "prenas": {
        **SUPERNET, "cost_groups": whole(2), "scored_children": whole(1),
        "pool_share": number(lambda value: 0 < value <= 1),
    },
    "pada": {**SUPERNET, "path_importance": FLAG, "data_importance": FLAG},
    "few_shot": {
        **SUPERNET, "parts": whole(2), "by": one_of("order", "gradients", "lid"),
        "split_label": either(nothing, text), "split_children": whole(1),
        "split_after": number(lambda value: 0 <= value < 1),
    },
    "enas": {
        **SUPERNET, "controller_steps": whole(1), "controller_learning_rate": positive,
        "entropy_weight": number(lambda value: value >= 0),
    },
    "gaea": {
        **MIXTURE, "base": one_of("darts", "pc_darts", "gdas"), "partial_channels": whole(1),
        # Beside the default of the other, which it must not cross.
        "temperature": number(lambda value: value >= 0.1),
        "final_temperature": number(lambda value: 0 < value <= 10),
    },
    "darts": MIXTURE,
    "pc_darts": {**MIXTURE, "partial_channels": whole(1)},
    "darts_pt": {**MIXTURE, "tune_epochs": whole(1)},
    "drop_nas": {**MIXTURE, "drop_rate": number(lambda value: 0 <= value < 1)},
    "proxyless_nas": MIXTURE,
    "gumbel_darts": {
        **MIXTURE, "hard": FLAG,
        "temperature": number(lambda value: value >= 0.33),
        "final_temperature": number(lambda value: 0 < value <= 1),
    },
    "average_alignment": {**SUPERNET, **ALIGNED, "n_children": whole(1)},
    "percentile_anchor": {
        **SUPERNET, **ALIGNED, "percentile": percent, "tolerance": percent,
        "anchor_candidates": whole(1),
    },
}  # fmt: skip
TASK = {
    "seed": whole(0, 2**32 - 1), "epochs": whole(1), "epoch_steps": whole(1),
    "batch_size": whole(1), "accumulate": whole(1), "learning_rate": positive,
    "warmup_steps": either(nothing, whole(0)), "weight_decay": not_negative,
    "workers": whole(0, 1024), "processes": whole(1, 1024), "nodes": whole(1, 1024),
    "threads": whole(0, 1024),
    "devices": either(whole(1), whole(-1, -1), one_of("1")),
    "precision": one_of("16"), "distributed": one_of("auto"), "sync_batchnorm": flag,
    "rank_timeout": whole(1, 604800),
    "validation_batches": whole(1), "calibration_batches": whole(0), "cache": path,
}  # fmt: skip
BERT = {
    **TASK, "corpus": several(text), "tokenizer": either(nothing, path),
    "optimizer": one_of("adam"),
    "preset": one_of("tiny"), "dropout": number(lambda value: 0 <= value < 1),
    "params": OPTIONAL_COUNT,
}  # fmt: skip
PROXYLESS = {
    **TASK, "label_smoothing": number(lambda value: 0 <= value < 1), "channels_last": flag,
    "dataset": one_of("digits"), "data": either(nothing, path), "download": flag,
    "resolution": OPTIONAL_COUNT, "held_out": share, "skip_unreadable": flag, "check_images": flag,
    "preset": one_of("tiny"), "candidates": either(nothing, several(text)), "width": positive,
    "dropout": number(lambda value: 0 <= value < 1), "budget": one_of("60%"),
}  # fmt: skip
RETRAINING = {
    "retrain_epochs": whole(0), "retrain_learning_rate": either(nothing, positive),
}  # fmt: skip
TEACHER = {
    "teacher": either(nothing, path), "teacher_weight": positive, "teacher_temperature": positive,
}  # fmt: skip
PROGRAM = {
    "task": TaskSettings(), "supernet": concerns.Supernet(strategy="spos"),
    "shrinking": concerns.Shrinking(), "search": concerns.Search(),
    "retraining": concerns.Retraining(),
}  # fmt: skip
SCORED = {"task": TaskSettings(), "checkpoint": Path("a.ckpt")}
NEVER = either()


def _dataclasses() -> Iterator[Row]:
    """A row for every settings dataclass."""
    yield from (Row(row.settings.__name__, row.settings, STRATEGIES[row.name])
                for row in METHODS.values())  # fmt: skip
    yield Row("TaskSettings", TaskSettings, TASK)
    yield Row("BertSettings", BertSettings, BERT)
    yield Row("ProxylessSettings", ProxylessSettings, PROXYLESS)
    yield Row("Supernet", concerns.Supernet, {
        "strategy": either(nothing, one_of("spos")), "given": lambda value: isinstance(value, dict),
    })  # fmt: skip
    yield Row("Shrinking", concerns.Shrinking, {"n_drop": whole(0), "evaluations": whole(1)})
    yield Row("Search", concerns.Search, {
        # At least as many as the population: that is a matter of both.
        "search_children": whole(1), "population": whole(1, 1000), "search_by": SEARCH_BY,
    })  # fmt: skip
    yield Row("Retraining", concerns.Retraining, RETRAINING)
    yield Row("PipelineRetraining", concerns.PipelineRetraining, {
        **RETRAINING, "retrain_epochs": whole(1),
    })  # fmt: skip
    yield Row("TrainSettings", settings.TrainSettings, {
        **dict.fromkeys(PROGRAM, NEVER), "teaching": NEVER, "output": either(nothing, path),
        "export": flag,
    }, PROGRAM | {"teaching": Teacher()})  # fmt: skip
    yield Row("TaskTeacher", TaskTeacher, TEACHER)
    yield Row("Teacher", Teacher, {
        **TEACHER, "relation_heads": OPTIONAL_COUNT,
        "teacher_layers": either(nothing, several(text)),
        "imitate": either(nothing, several(one_of("logits", "hidden", "relations"))),
    })  # fmt: skip
    yield Row("PipelineSettings", settings.PipelineSettings, {
        **dict.fromkeys(("task", "supernet", "retraining", "teaching"), NEVER),
        "population": whole(1),
        "search_by": SEARCH_BY,
        "shared_folder": either(nothing, path),
    }, {**{name: PROGRAM[name] for name in ("task", "supernet")},
        "retraining": concerns.PipelineRetraining(), "teaching": Teacher()})  # fmt: skip
    yield Row("ScoreSettings", settings.ScoreSettings, {"task": NEVER, "checkpoint": path}, SCORED)
    yield Row("ParetoSettings", settings.ParetoSettings, {
        "task": NEVER, "checkpoint": path, "output": path, "cost": one_of("flops"),
        "generations": whole(1), "population": whole(1),
    }, {**SCORED, "output": Path("out")})  # fmt: skip
    yield Row("SearchSpaceSettings", settings.SearchSpaceSettings, {"checkpoint": path})
    yield Row("ExampleSettings", settings.ExampleSettings, {
        "name": either(nothing, text), "folder": path,
    })  # fmt: skip
    yield Row("DemoSettings", settings.DemoSettings, {
        "folder": path, "example": text, "experiment": either(nothing, path),
        "port": whole(0, 65535), "keep": flag,
    })  # fmt: skip


SETTINGS = list(_dataclasses())
"""A row for every settings dataclass."""
