"""The table of projects that are not ours: one habit of real users a row.

A row is what a user has before the strategy is swapped in: a space, a Lightning module, data and
the trainer's arguments. The tests run it in plain Lightning and with ours and compare.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from foreign import data, models, modules
from pytorch_lightning.callbacks import EarlyStopping

TERMS = ("magic_a", "magic_at")
ALL = ("spos", "magic_t", *TERMS)
TRAINED_BY_HAND = "automatic_optimization of .* is False"


def vectors():
    return (torch.randn(4, data.FEATURES, generator=data.generator(5)),), {}


def pictures():
    return (torch.randn(4, 1, 8, 8, generator=data.generator(5)),), {}


def texts():
    rows = [data.sentences(4, 5)[i] for i in range(4)]
    names = ("input_ids", "attention_mask")
    return (), {name: torch.stack([row[name] for row in rows]) for name in names}


def keywords():
    return (), {"features": vectors()[0][0]}


@dataclass(frozen=True, eq=False)
class Row:
    """A project that is not ours.

    ``metric`` is the name under which plain Lightning gives the score; None is what the step gives.
    ``refused`` tells, by what is run (a strategy's name, ``evaluate``, ``gradients``), the message
    of a refusal.
    ``exact_epochs`` are those in which training depends on nothing that validation finds.
    ``alike`` says that the metric of several children together is the mean of theirs, and
    ``draws_before`` that random numbers are drawn before a step begins. ``steps_at_once`` are the
    times that an optimizer's step runs the training step, and ``resumes`` that Lightning itself
    goes on within an epoch as if it had not been stopped. ``settings`` are those of all strategies,
    and ``aligning`` more of those that align.
    """

    name: str
    habit: str
    module: Callable[[], Any] = modules.Plain
    space: Callable[[], Any] = models.Mlp
    data: Callable[[], dict[str, Any]] = data.loaders
    trainer: Mapping[str, Any] = field(default_factory=dict)
    example: Callable[[], Any] = vectors
    metric: str | None = "val_loss"
    mode: str = "min"
    refused: Mapping[str, str] = field(default_factory=dict)
    exact_epochs: int = 2
    alike: bool = True
    draws_before: bool = False
    steps_at_once: int = 1
    resumes: bool = True
    slow: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)
    aligning: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name


IMAGES = {"space": models.Cnn, "data": lambda: data.loaders(data.images), "example": pictures}
TEXT = {"data": lambda: data.loaders(data.sentences), "example": texts}
NOT_ALIGNED = dict.fromkeys(TERMS, "no layer can be aligned by itself")
BY_HAND = {
    **dict.fromkeys(TERMS, TRAINED_BY_HAND), "gradients": "automatic_optimization",
}  # fmt: skip

ROWS = [
    # Batches
    Row("pops_labels", "a step pops the labels out of a dict",
        modules.PopsLabels, data=data.dicts),
    Row("writes_into_batch", "a step changes its batch in place",
        modules.WritesIntoBatch),
    Row("model_writes", "the model changes its input in place",
        space=models.WritesIntoItsInput),
    Row("named_tuple", "a batch is a named tuple",
        modules.Attributes, data=data.named_tuples),
    Row("dataclass", "a batch is a dataclass with a list in it",
        modules.Attributes, data=data.dataclasses),
    Row("object", "a batch is an object with `to`, that a step empties",
        modules.ClearsObject, data=data.graphs),
    Row("encoding", "a batch is a mapping with `to`, as tokenizers give",
        modules.UnpacksEncoding, models.TextEncoder, data.encodings, example=texts),
    Row("text", "padded text with a mask; the model is called with `**batch`",
        modules.Text, models.TextEncoder, **TEXT),
    Row("before_transfer", "`on_before_batch_transfer` normalises",
        modules.NormalisesBefore),
    Row("after_transfer", "`on_after_batch_transfer` treats training and validation differently",
        modules.AugmentsAfter),
    Row("noisy_transfer", "`on_after_batch_transfer` augments at random",
        modules.AddsNoiseAfter, draws_before=True),
    Row("transfer", "`transfer_batch_to_device` pads a ragged list",
        modules.Transfers, data=data.ragged),
    Row("data_module", "a DataModule with `prepare_data`, `setup` and transfer hooks",
        data=data.data_module),
    # Loaders
    Row("weighted_sampler", "rows drawn by weight, with replacement",
        data=data.weighted),
    Row("stream", "data without a length",
        data=data.streamed),
    Row("random_data", "rows that are augmented at random in the data set",
        data=data.augmented),
    Row("list_of_loaders", "several held-out loaders in a list",
        modules.LoaderIndex, data=data.several_held_out, metric="val_loss/dataloader_idx_1"),
    Row("named_loaders", "held-out loaders one after another, each with a metric of its own",
        modules.TwoLoaders, data=data.held_out_in_sequence, metric="val_b"),
    Row("dict_held_out", "held-out loaders in a dict, one after another",
        modules.TwoLoaders, data=data.held_out_in_a_dict, metric="val_a"),
    Row("joined_loaders", "held-out loaders side by side: a batch is a dict, in part None",
        modules.JoinedLoaders, data=data.held_out_by_name),
    Row("dict_of_loaders", "training data of two loaders: a batch is a dict",
        modules.SemiSupervised, data=data.several_to_train_on),
    Row("shortest_loader", "training data of two loaders: a batch is a list",
        modules.PairOfBatches, data=data.trained_on_the_shortest),
    Row("limited", "`limit_train_batches`, `limit_val_batches`, validation within an epoch",
        trainer={"limit_train_batches": 2, "limit_val_batches": 2, "val_check_interval": 1}),
    # Metrics
    Row("gathers", "outputs gathered over the epoch, logged at its end",
        modules.Gathers, metric="val_acc", mode="max"),
    Row("torchmetrics", "a metric object is logged",
        modules.TorchMetrics, metric="val_acc", mode="max"),
    Row("collection", "a MetricCollection by `log_dict`",
        modules.Collection, metric="val_MulticlassF1Score", mode="max", alike=False),
    Row("metrics_in_list", "metrics in a plain list, computed by hand at the epoch's end",
        modules.MetricsInList, metric="val_mean"),
    Row("logs_much", "metrics per step and epoch, for several processes, with a batch size",
        modules.LogsMuch),
    Row("returns", "validation gives the loss and logs nothing",
        modules.Returns, metric=None, alike=False),
    Row("shared_step", "one step for all stages, that calls the module itself",
        modules.Shared),
    Row("counts", "plain attributes that steps move on and use",
        modules.CountsBatches, metric="val_count", alike=False),
    # Steps
    Row("batch_alone", "steps that take the batch alone",
        modules.BatchAlone),
    Row("gives_dict", "a training step that gives a dict",
        modules.GivesDict),
    Row("gives_none", "a training step that passes over batches",
        modules.SometimesNone),
    Row("siamese", "the model is called twice a step",
        modules.Siamese),
    Row("forces", "validation differentiates by the input",
        modules.NeedsGradients, trainer={"inference_mode": False}),
    Row("anneals", "a loss that depends on epoch and step, noise of three generators",
        modules.Anneals),
    Row("mixup", "mixup, by numpy's generator",
        modules.Mixup),
    Row("modes", "`on_validation_model_eval` and `on_validation_model_train`",
        modules.SaysItself),
    Row("only_trains", "no validation step",
        modules.OnlyTrains,
        refused=dict.fromkeys((*ALL, "evaluate"), "metric is .* accepted are")),
    Row("holds_data", "the module has the loaders",
        modules.HoldsData, data=data.none, refused=dict.fromkeys(ALL, "dataloader")),
    # Optimization
    Row("by_hand", "manual optimization",
        modules.ByHand, refused=BY_HAND),
    Row("two_optimizers", "manual optimization with two optimizers",
        modules.TwoOptimizers, refused=BY_HAND),
    Row("one_cycle", "a schedule by steps, made with the trainer's number of them",
        modules.ScheduledBySteps),
    Row("plateau", "a schedule by the validation loss",
        modules.OnPlateau, exact_epochs=1, resumes=False),
    Row("groups", "weight decay for some parameters",
        modules.ParameterGroups),
    Row("own_backward", "a backward pass of one's own",
        modules.OwnBackward),
    Row("own_step", "an optimizer step of one's own",
        modules.OwnStep),
    Row("lbfgs", "an optimizer that runs the step several times",
        modules.Lbfgs, steps_at_once=3),
    Row("accumulates", "gradients accumulated and clipped by the trainer",
        trainer={"accumulate_grad_batches": 2, "gradient_clip_val": 0.5}),
    Row("clips", "gradients changed and clipped in hooks",
        modules.ClipsItself),
    Row("double", "precision 64-true",
        trainer={"precision": "64-true"}),
    Row("bfloat16", "precision bf16-true",
        trainer={"precision": "bf16-true", "limit_val_batches": 1}),
    Row("autocast", "precision bf16-mixed",
        trainer={"precision": "bf16-mixed"}, data=lambda: data.loaders(data.images),
        space=models.Cnn, example=pictures),
    Row("stops_early", "EarlyStopping on the validation loss",
        trainer={"callbacks": lambda: [EarlyStopping("val_loss", patience=5)]}),
    # What a module holds
    Row("distils", "a frozen teacher, and a criterion with weights",
        modules.Distils),
    Row("configures_callbacks", "`configure_callbacks` adds a moving average",
        modules.ConfiguresCallbacks),
    Row("configures_model", "`configure_model` and `setup` make parts of the module",
        modules.ConfiguresModel),
    Row("hyperparameters", "`save_hyperparameters`",
        modules.SavesHyperparameters),
    Row("saves_numpy", "objects of numpy in the checkpoint",
        modules.SavesNumpy),
    Row("frozen_norms", "`train()` keeps BatchNorm in evaluation mode",
        modules.FreezesNorms, **IMAGES),
    Row("nni_classification", "NNI's Classification",
        modules.nnis_classification, metric="val_acc", mode="max", **IMAGES),
    Row("nni_regression", "NNI's Regression",
        modules.nnis_regression, models.OneOutput, lambda: data.loaders(data.targets)),
    Row("nni_supervised", "derived from NNI's SupervisedLearningModule",
        modules.Supervised),
    Row("writes_onnx", "writes the model as ONNX in its first validation, as NNI's does by default",
        modules.WritesOnnx, slow=True),
    # Spaces
    Row("deep", "a number of layers is chosen", space=models.Deep, refused=NOT_ALIGNED),
    Row("cells", "a cell", refused=NOT_ALIGNED, **{**IMAGES, "space": models.Cells}),
    Row("wired", "inputs are chosen", space=models.Wired),
    Row("widths", "channels and kernels are chosen, kernels as tuples",
        refused=NOT_ALIGNED, **{**IMAGES, "space": models.Widths}),
    Row("nested", "a choice inside a candidate", space=models.Nested),
    Row("tied", "choices with one label, and tied weights", space=models.Tied),
    Row("outer", "a space within a space", space=models.Outer),
    Row("shared_norm", "one BatchNorm used after every block",
        **{**IMAGES, "space": models.SharedNorm}),
    Row("in_place", "activations in place behind the choices", space=models.InPlace,
        refused=NOT_ALIGNED),
    Row("stochastic", "DropPath", space=models.Stochastic),
    Row("checkpointed", "gradient checkpointing", space=models.Checkpointed),
    Row("constrained", "weight norm and spectral norm", space=models.Constrained),
    Row("keywords", "a model called by keyword only",
        modules.Keywords, models.ByKeyword, example=keywords),
    Row("with_features", "a model that gives a tuple",
        modules.TupleOutput, models.WithFeatures),
    Row("with_none", "a model that gives `(logits, None)`",
        modules.TupleOutput, models.WithNone),
    Row("dict_output", "a model that gives a dict",
        modules.DictOutput, models.DictOutput),
    Row("recurrent", "candidates that give tuples, in part without the mask's dimensions",
        modules.Text, models.Recurrent, refused=dict.fromkeys(
            TERMS, r"the padding mask, which mask_argument=None leaves out \(layers.0, layers.1\)"
        ), **TEXT),
    Row("recurrent_unmasked", "the same, aligned with all positions",
        modules.Text, models.Recurrent, aligning={"mask_argument": None}, **TEXT),
]  # fmt: skip



def rows(part=1, begin=0):
    """Parametrize by every row; each ``part``-th is fast enough for every day."""
    return pytest.mark.parametrize(
        "row",
        [
            pytest.param(row, marks=_mark(row, number % part == begin))
            for number, row in enumerate(ROWS)
        ],
        ids=str,
    )


def _mark(row, in_turn):
    return () if in_turn and not row.slow else pytest.mark.slow


@contextlib.contextmanager
def refusing(row, what):
    """Expect the refusal of something, where the row says so; nothing more is then to be tested."""
    if what not in row.refused:
        yield
        return
    with pytest.raises((TypeError, ValueError), match=row.refused[what]):
        yield
    pytest.skip("refused, as it should be")


def spread():
    """Every row with each strategy; one of them in turn is fast enough for every day."""
    return [
        pytest.param(row, name, id=f"{row}-{name}",
                     marks=_mark(row, place == number % len(ALL)))
        for number, row in enumerate(ROWS)
        for place, name in enumerate(ALL)
    ]  # fmt: skip


def row_lines():
    """The rows as they stand in docs/compatibility.md."""
    return [f"| `{row}` | {row.habit} |" for row in ROWS]
