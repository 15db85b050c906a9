"""Settings of the programs that train models of text for ``transformers``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from ..support.errors import check_choice, check_count, check_number, naming
from ..support.kinds import check_kinds
from ..tasks.settings import Training
from ..tasks.teaching import TaskTeacher, Teacher

__all__ = ["FineTuneSettings", "FineTuneTableSettings", "PretrainSettings"]

Objective = Literal["mlm", "electra"]
Start = Literal["scratch", "inherited"]
TrainerPrecision = Literal["32", "bf16", "fp16"]


@dataclass(frozen=True, kw_only=True)
class PretrainSettings:
    """Settings of :mod:`nni_magic.programs.pretrain`.

    Parameters
    ----------
    model
        A child's folder that nni-magic export has written.
    output
        Folder of checkpoints, results and the trained ``model``.
    corpus
        Text to train on, as in nni-magic train.
    cache
        Folder for tokens.
    objective
        ``mlm``: masked tokens; ``electra``: replaced tokens, with a generator beside.
    start
        ``scratch``: new weights; ``inherited``: those of the folder.
    whole_words
        Mask whole words.
    mask_probability
        Share of the tokens to predict.
    steps
        Optimizer steps.
    warmup_steps
        Steps in which the learning rate rises linearly, before it falls to 0; by default 80, but at
        most a fifth of all.
    learning_rate
        The highest one.
    weight_decay
        Of AdamW.
    batch_size
        Sequences a device and forward pass.
    accumulate
        Forward passes a step.
    precision
        Of the forward pass.
    evaluate_every, save_every
        Steps between held-out perplexities, and between checkpoints.
    validation_rows
        Held-out sequences, at most.
    workers
        Processes that load data.
    seed
        Of weights, order and masks.
    teaching
        A teacher that the child imitates beside predicting masked tokens.
    """

    model: Path
    output: Path
    corpus: tuple[str, ...] = ("sotu",)
    cache: Path = Path("runs/cache")
    objective: Objective = "mlm"
    start: Start = "scratch"
    whole_words: bool = False
    mask_probability: float = 0.15
    steps: int = 1000
    warmup_steps: int | None = None
    learning_rate: float = 5e-4
    weight_decay: float = 0.01
    batch_size: int = 32
    accumulate: int = 1
    precision: TrainerPrecision = "32"
    evaluate_every: int = 500
    save_every: int = 500
    validation_rows: int = 1024
    workers: int = 0
    seed: int = 0
    teaching: Teacher = field(default_factory=Teacher)

    def __post_init__(self) -> None:
        check_kinds(self)
        check_choice("objective", self.objective, get_args(Objective))
        if self.teaching.teacher is not None and self.objective != "mlm":
            raise ValueError(
                f"objective is {self.objective!r}; accepted with a teacher is 'mlm', whose masks "
                "both of them read"
            )
        check_choice("start", self.start, get_args(Start))
        check_choice("precision", self.precision, get_args(TrainerPrecision))
        check_number("mask_probability", self.mask_probability, above=0, at_most=1)
        for name in ("steps", "batch_size", "accumulate", "evaluate_every", "save_every",
                     "validation_rows"):  # fmt: skip
            check_count(name, getattr(self, name))
        with naming(f"steps {self.steps}"):
            check_count("warmup_steps", self.warmup, at_least=0, at_most=self.steps)
        check_count("workers", self.workers, at_least=0)
        check_count("seed", self.seed, at_least=0, at_most=2**32 - 1)
        check_number("learning_rate", self.learning_rate, above=0)
        check_number("weight_decay", self.weight_decay, at_least=0)

    @property
    def warmup(self) -> int:
        """Steps of the warm-up, by the rule of a supernet's training."""
        if self.warmup_steps is None:
            return Training(epoch_steps=self.steps).warmup_for(1)
        return self.warmup_steps


@dataclass(frozen=True, kw_only=True)
class FineTuneSettings:
    """Settings of :mod:`nni_magic.programs.fine_tune`.

    Parameters
    ----------
    model
        Folder of a pre-trained child.
    data
        Folder of all data sets, each in a folder of its name; or a data set of Hugging Face, such
        as ``hf:nyu-mll/glue``.
    dataset
        One of GLUE's tasks, such as ``RTE``, ``SQuAD-1.1`` or ``SQuAD-2.0``.
    output
        Folder of all results; each run has one of its own in it.
    mnli
        A classifier that was fine-tuned on MNLI, with which MRPC, RTE and STS-B begin.
    learning_rate
        The highest one, after a linear rise; then it falls to 0.
    batch_size
        Texts a step and device.
    epochs
        Passes through the training data.
    warmup_share
        Share of the steps in which the learning rate rises.
    weight_decay
        Of AdamW.
    stride
        Tokens that neighbouring windows of a context share.
    n_best
        Answers that are kept of each question.
    longest_answer
        In tokens.
    precision
        Of the forward pass.
    seed
        Of the head, the order and dropout.
    teaching
        A classifier of the same task of GLUE, whose logits the child imitates.
    """

    model: Path
    data: Path
    dataset: str = "RTE"
    output: Path = Path("runs/fine_tuned")
    mnli: Path | None = None
    learning_rate: float = 2e-5
    batch_size: int = 16
    epochs: int = 10
    warmup_share: float = 0.06
    weight_decay: float = 0.1
    stride: int = 64
    n_best: int = 20
    longest_answer: int = 30
    precision: TrainerPrecision = "32"
    seed: int = 0
    teaching: TaskTeacher = field(default_factory=TaskTeacher)

    def __post_init__(self) -> None:
        check_kinds(self)
        check_choice("precision", self.precision, get_args(TrainerPrecision))
        for name in ("batch_size", "epochs", "stride", "n_best", "longest_answer"):
            check_count(name, getattr(self, name))
        check_count("seed", self.seed, at_least=0, at_most=2**32 - 1)
        check_number("learning_rate", self.learning_rate, above=0)
        check_number("warmup_share", self.warmup_share, at_least=0, at_most=1)
        check_number("weight_decay", self.weight_decay, at_least=0)


@dataclass(frozen=True, kw_only=True)
class FineTuneTableSettings:
    """Settings of :mod:`nni_magic.programs.fine_tune_table`.

    Parameters
    ----------
    output
        Folder of the results of nni-magic fine-tune; the tables are written into it.
    """

    output: Path = FineTuneSettings.output

    def __post_init__(self) -> None:
        check_kinds(self)
