"""Fine-tune a child on one of GLUE's tasks or on SQuAD: a run, or a trial, for a task and a seed.

::

    nni-magic fine-tune --model runs/full/model --data glue --dataset RTE --seed 1
    nnictl create --config bert_fine_tune.yml
    nni-magic fine-tune-table

The data are the official files: ``RTE/train.tsv`` and ``RTE/dev.tsv``, and those of GLUE's other
tasks; ``SQuAD-1.1/train-v1.1.json`` and ``dev-v1.1.json``; ``SQuAD-2.0/train-v2.0.json`` and
``dev-v2.0.json``; or, as ``hf:NAME``, a data set of Hugging Face. As RoBERTa's [Liu2019]_, a
classifier is that of the epoch with the best score on ``dev``. With ``--teacher FOLDER``, a
classifier of the same task, the child learns from its logits, too. A run writes ``model`` and
``result.json`` into a folder of its own, and goes on there when it was killed.

References
----------
.. [Liu2019] Y. Liu et al., "RoBERTa: A Robustly Optimized BERT Pretraining Approach", 2019.
"""

from __future__ import annotations

import importlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import nni_bootstrap  # noqa: F401
import torch

from ..manager.trial import ManagedTrial
from ..support.errors import check_choice, check_count, naming
from ..support.files import file_digest, make_folder, read_json, write_json
from ..support.locks import sole_writer
from ..tasks.language.glue import GLUE, GlueTask, read_part
from ..tasks.language.hub_data import local_data
from ..tasks.language.squad import Question, best_threshold, read_squad, scores
from .one_gpu import check_one_gpu
from .options import plain, replaced
from .text_settings import FineTuneSettings

__all__ = ["SQUAD", "fine_tune", "run_folder", "run_trial"]

SQUAD = {"SQuAD-1.1": "1.1", "SQuAD-2.0": "2.0"}
"""Versions of SQuAD by their names as data sets."""
_PLACES = ("model", "data", "output", "mnli", "teaching")


@dataclass(frozen=True)
class _Run:
    """What every run has: its settings, the checked folder of its model, and its own folder."""

    settings: FineTuneSettings
    package: Any
    source: Any
    folder: Path
    teacher: Any = None

    @property
    def data(self) -> Path:
        return self.settings.data / self.settings.dataset

    def begin(self, files: Mapping[str, Path]) -> None:
        """Refuse to go on with what was begun with other settings, data or weights."""
        digests = {name: file_digest(path) for name, path in files.items()}
        given = {k: v for k, v in plain(asdict(self.settings)).items() if k not in _PLACES}
        digests["model"] = file_digest(self.source.folder / "model.safetensors")
        if self.teacher is not None:
            given |= self.settings.teaching.made_with(self.teacher.digest)
        self.package.check_settings(self.folder, {**given, "digests": digests})

    def trainer(self, model: Any, train: Any, **more: Any) -> Any:
        """Make a ``Trainer``; what ``more`` names goes to it, or to its arguments."""
        from transformers import DataCollatorWithPadding, Trainer, TrainingArguments

        settings, arguments = self.settings, more.pop("arguments", {})
        make: Any = Trainer
        if self.teacher is not None:
            make = partial(self.package.DistillingTrainer, teaching=settings.teaching)
            arguments = {**arguments, "remove_unused_columns": False}
        steps = math.ceil(len(train) / settings.batch_size) * settings.epochs
        return make(
            model=model,
            args=TrainingArguments(
                str(self.folder), num_train_epochs=settings.epochs,
                learning_rate=settings.learning_rate, weight_decay=settings.weight_decay,
                lr_scheduler_type="linear", warmup_steps=round(settings.warmup_share * steps),
                per_device_train_batch_size=settings.batch_size, per_device_eval_batch_size=64,
                seed=settings.seed, bf16=settings.precision == "bf16",
                fp16=settings.precision == "fp16", save_strategy="epoch", save_total_limit=2,
                logging_strategy="epoch", report_to=[], disable_tqdm=True,
                logging_nan_inf_filter=False, dataloader_pin_memory=torch.cuda.is_available(),
                use_cpu=not torch.cuda.is_available(),
                **arguments,
            ),
            train_dataset=train, data_collator=DataCollatorWithPadding(self.source.tokenizer),
            **more,
        )  # fmt: skip

    def finish(self, model: Any, result: dict[str, Any]) -> dict[str, Any]:
        """Write model and result; gives the result."""
        settings = self.settings
        result = {
            "dataset": settings.dataset, "learning_rate": settings.learning_rate,
            "batch_size": settings.batch_size, "seed": settings.seed, **result,
        }  # fmt: skip
        self.package.write_trained(model, self.source, self.folder / "model", result)
        write_json(self.folder / "result.json", result)
        return result


def run_folder(settings: FineTuneSettings) -> Path:
    """The folder of a run, in that of all results."""
    name = f"lr{settings.learning_rate:g}_b{settings.batch_size}_s{settings.seed}"
    return settings.output / settings.dataset / name


def fine_tune(settings: FineTuneSettings) -> dict[str, Any]:
    """Fine-tune, and measure on ``dev``.

    Returns
    -------
    dict
        ``score``, from 0 to 1, all ``metrics``, and what the run is told apart by. A ``score`` of
        ``None`` is not defined: the model rates all texts alike.

    Raises
    ------
    FileNotFoundError
        If a file of the data or the model is missing.
    ValueError
        If data are not as they should be, a model has another's tokenizer, the training has
        diverged, or there are several processes or GPUs.
    """
    if (processes := os.environ.get("WORLD_SIZE", "1")) != "1":  # torchrun's
        raise ValueError(f"WORLD_SIZE is {processes!r}; accepted is '1', for a fine-tuning")
    check_one_gpu()
    check_choice("dataset", settings.dataset, (*GLUE, *SQUAD))
    package = importlib.import_module("nni_magic.tasks.language.hugging_face")
    source = package.read_source(settings.model)
    folder = make_folder("output", run_folder(settings))
    data = local_data(settings.data, settings.dataset, settings.output / "data")
    settings = replace(settings, data=data)
    teacher = settings.teaching.teacher
    if teacher is not None:
        check_choice("dataset, with a teacher,", settings.dataset, GLUE)
        teacher = package.TaskClassifier(teacher, GLUE[settings.dataset])
    run = _Run(settings, package, source, folder, teacher)
    with sole_writer(folder, "output"):
        if settings.dataset in GLUE:
            return _glue(run, GLUE[settings.dataset])
        return _squad(run, SQUAD[settings.dataset])


def _glue(run: _Run, task: GlueTask) -> dict[str, Any]:
    start = _mnli(run, task)
    examples = {part: read_part(task, run.data, part) for part in ("train", *task.dev)}
    files = {part: run.data / f"{part}.tsv" for part in examples}
    if start is not None:
        files["mnli"] = start / "model.safetensors"
    run.begin(files)
    if (done := read_json(run.folder / "result.json")) is not None:
        return dict(done)
    length = run.source.config.max_position_embeddings
    rows = {
        part: run.package.glue_rows(task, found, run.source.tokenizer, length)
        for part, found in examples.items()
    }
    if run.teacher is not None:
        rows["train"] = run.teacher.taught(rows["train"], examples["train"])
    model = run.package.to_classify(run.source, task, run.settings.seed, start)
    trainer = run.trainer(
        model, rows.pop("train"), eval_dataset=rows,
        compute_metrics=run.package.glue_metrics(task),
        arguments={"eval_strategy": "epoch", "load_best_model_at_end": True,
                   "metric_for_best_model": f"eval_{task.dev[0]}_selection"},
    )  # fmt: skip
    run.package.train(trainer)
    found = trainer.evaluate()
    _check_finite(run.settings, {part: found[f"eval_{part}_loss"] for part in task.dev})
    measured = {
        part: {name: _defined(found[f"eval_{part}_{name}"]) for name in (*task.metrics, "score")}
        for part in task.dev
    }
    every = [measured[part]["score"] for part in task.dev]
    score = None if None in every else fmean(each for each in every if each is not None)
    return run.finish(model, {"score": score, "metrics": measured})


def _defined(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _mnli(run: _Run, task: GlueTask) -> Path | None:
    """The folder of the classifier to begin with, if there is one."""
    start = run.settings.mnli
    if start is None or task.starts_from != "MNLI":
        return None
    found: Path = run.package.read_mnli(start, run.source).folder
    return found


def _check_finite(settings: FineTuneSettings, losses: Mapping[str, float]) -> None:
    for part, loss in losses.items():
        if not math.isfinite(loss):
            raise ValueError(
                f"the loss on {part} is {loss}: the training has diverged; learning_rate is "
                f"{settings.learning_rate}, try a smaller one"
            )


def _squad(run: _Run, version: str) -> dict[str, Any]:
    settings, source = run.settings, run.source
    length = source.config.max_position_embeddings
    if length <= 16:
        raise ValueError(f"model takes {length} tokens; accepted for SQuAD are those of 17 or more")
    with naming(f"a model of {length} tokens"):  # a question and a part of its context need room
        check_count("stride", settings.stride, at_most=length - 16)
    files = {part: run.data / f"{part}-v{version}.json" for part in ("train", "dev")}
    train, dev = (read_squad(path, version) for path in files.values())
    run.begin(files)
    if (done := read_json(run.folder / "result.json")) is not None:
        return dict(done)
    cut = run.package.windows(train, source.tokenizer, length, settings.stride)
    model = run.package.to_answer(source, settings.seed)
    trainer = run.trainer(model, [window.row(train[window.question]) for window in cut])
    run.package.train(trainer)
    cut = run.package.windows(dev, source.tokenizer, length, settings.stride)
    output = trainer.predict([window.row() for window in cut]).predictions
    best = run.package.answers(
        dev, cut, *output, n_best=settings.n_best, longest=settings.longest_answer
    )
    return run.finish(model, _answered(run, version, dev, best))


def _answered(
    run: _Run, version: str, dev: list[Question], best: Mapping[str, Any]
) -> dict[str, Any]:
    """Write the answers, and measure them."""
    texts = {id: found[0].text for id, (found, _) in best.items()}
    none = {id: lowest - found[0].score for id, (found, lowest) in best.items()}
    _check_finite(run.settings, {id: value for id, value in none.items() if math.isnan(value)})
    more = {}
    if version == "2.0":
        _, threshold = best_threshold(dev, texts, none)
        more = {"null_threshold": threshold}
        texts = {id: text if none[id] <= threshold else "" for id, text in texts.items()}
    n_best = {id: [list(each) for each in found] for id, (found, _) in best.items()}
    write_json(run.folder / "predictions.json", texts)
    write_json(run.folder / "n_best.json", n_best)
    measured = scores(dev, texts, version)
    return {"score": measured["all"]["f1"] / 100, "metrics": measured, **more}


def run_trial(settings: FineTuneSettings) -> None:
    """Run one trial with what the tuner chose for it, and report its score."""
    trial = ManagedTrial()
    result = fine_tune(replaced(settings, trial.parameters))
    trial.report_final(-1.0 if result["score"] is None else result["score"])
    print(json.dumps(result, indent=2))
