"""Pre-train a found child in full, on a corpus of one's own.

::

    nni-magic pretrain --model children/1_<digest>/hugging_face --corpus my_text --output runs/full
    torchrun --nproc-per-node 8 -m nni_magic.programs pretrain --config bert_retrain.yml

writes ``model`` into the output, a folder for ``from_pretrained`` with the tokenizer: for ``mlm`` a
``MagicBertForMaskedLM``, for ``electra`` the discriminator, a ``MagicBertForPreTraining``. With
``--teacher FOLDER`` the child imitates a model of any width, depth and tokenizer, the first stage
of a distillation in two; the second is ``nni-magic fine-tune --teacher``. A run
that was killed and is started again goes on to the same result. ``log.json`` has the losses, the
perplexities and, of the last start, the sequences per second.
"""

from __future__ import annotations

import importlib
import json
import math
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import nni_bootstrap  # noqa: F401
import torch

from ..support.files import make_folder, write_json
from ..support.locks import sole_writer
from ..tasks.language.mlm_data import MlmData, prepare
from .one_gpu import check_one_gpu
from .options import plain
from .text_settings import PretrainSettings

__all__ = ["run"]

_PLACES = ("model", "output", "cache", "workers", "teaching")
"""Settings on which the result does not depend, or by more than their names."""


def run(settings: PretrainSettings) -> None:
    """Train, write the model, and say where.

    Raises
    ------
    FileNotFoundError
        If the model's folder is none.
    ValueError
        If the tokenizer is of another model, a training of other settings has begun in the output,
        the training has diverged, or one process sees several GPUs.
    """
    check_one_gpu()
    package = importlib.import_module("nni_magic.tasks.language.hugging_face")
    source = package.read_source(settings.model)
    folder = make_folder("output", settings.output)
    arguments = _arguments(settings, folder)
    with sole_writer(folder, "output") if arguments.process_index == 0 else nullcontext():
        data = prepare(
            list(settings.corpus) if len(settings.corpus) > 1 else settings.corpus[0],
            settings.cache, max_length=source.config.max_position_embeddings,
            tokenizer=settings.model / "tokenizer.json",
        )  # fmt: skip
        _train(settings, source, data, arguments, folder)
    if arguments.process_index == 0:
        print(f"written: {folder / 'model'}")


def _arguments(settings: PretrainSettings, folder: Path) -> Any:
    from transformers import TrainingArguments

    return TrainingArguments(
        str(folder), max_steps=settings.steps, warmup_steps=settings.warmup,
        lr_scheduler_type="linear", learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay, per_device_train_batch_size=settings.batch_size,
        per_device_eval_batch_size=settings.batch_size,
        gradient_accumulation_steps=settings.accumulate, bf16=settings.precision == "bf16",
        fp16=settings.precision == "fp16", eval_strategy="steps",
        eval_steps=settings.evaluate_every, logging_steps=settings.evaluate_every,
        save_steps=settings.save_every, save_total_limit=2, seed=settings.seed,
        data_seed=settings.seed,
        dataloader_num_workers=settings.workers, dataloader_pin_memory=torch.cuda.is_available(),
        report_to=[], remove_unused_columns=False, logging_nan_inf_filter=False,
        disable_tqdm=True, label_names=["labels"],
        average_tokens_across_devices=False, use_cpu=not torch.cuda.is_available(),
    )  # fmt: skip


def _train(
    settings: PretrainSettings, source: Any, data: MlmData, arguments: Any, folder: Path
) -> None:
    package = importlib.import_module("nni_magic.tasks.language.hugging_face")
    first = arguments.process_index == 0
    given = {k: v for k, v in plain(asdict(settings)).items() if k not in _PLACES}
    given["warmup_steps"] = settings.warmup
    model = package.to_pretrain(
        source, settings.objective, settings.seed, inherited=settings.start == "inherited"
    )
    learner, teaching = model, None
    if settings.teaching.teacher is not None:
        teaching = package.child_teaching(settings.teaching, model, data.tokenizer, settings.seed)
        learner = package.TaughtChild(model, teaching, settings.teaching.teacher_weight)
    made_with = {
        **given, **({} if teaching is None else teaching.made_with),
        "corpus": data.corpus_digest, "tokenizer": data.tokenizer_digest,
        "operators": source.config.operators, "processes": arguments.world_size,
    }  # fmt: skip
    if first:
        package.check_settings(folder, made_with)
    if (folder / "results.json").exists():  # written last
        return
    trainer = package.PretrainingTrainer(
        masking=package.Masking(
            source.tokenizer, data, settings.mask_probability, whole_words=settings.whole_words
        ),
        model=learner, args=arguments, train_dataset=package.TrainingRows(data),
        eval_dataset=package.HeldOutRows(data, settings.validation_rows),
    )  # fmt: skip
    speed = package.train(trainer)["train_samples_per_second"]
    found = trainer.evaluate()
    if not math.isfinite(found["eval_loss"]):
        raise ValueError(
            f"the held-out loss is {found['eval_loss']}: the training has diverged; learning_rate "
            f"is {settings.learning_rate}, try a smaller one"
        )
    if first:
        kept = model.discriminator if settings.objective == "electra" else model
        results = {
            "settings": made_with, "perplexity": found["eval_perplexity"],
            "loss": found["eval_loss"], "steps": settings.steps,
        }  # fmt: skip
        package.write_trained(kept, source, folder / "model", results)
        write_json(folder / "log.json", trainer.state.log_history)
        write_json(folder / "results.json", {**results, "sequences_per_second": speed})
        print(json.dumps({name: results[name] for name in ("perplexity", "loss")}))
