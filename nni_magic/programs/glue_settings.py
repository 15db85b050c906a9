"""Settings of the way from a corpus to fine-tuned models."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path

from ..strategies.registry import METHODS
from ..support.errors import check_choice, check_count, check_number, naming
from ..support.kinds import check_kinds
from ..tasks.language.settings import BertSettings
from ..tasks.teaching import Teacher
from .concerns import Search, Supernet
from .text_settings import FineTuneSettings, PretrainSettings

__all__ = ["GlueSettings"]


@dataclass(frozen=True, kw_only=True)
class GlueSettings:
    """Settings of :mod:`nni_magic.programs.glue`.

    Parameters
    ----------
    bert, supernet, search
        See there. There is no budget of parameters: those of BERT's layers are one.
    teaching
        Where it has a teacher, the found child is trained a second time, imitating it in the
        pre-training.
    data
        Folder of all data sets, each in a folder of its name; or a data set of Hugging Face, such
        as ``hf:nyu-mll/glue``.
    output
        Folder of all that is made.
    tasks
        GLUE's tasks, such as ``RTE``. With ``MNLI`` among them, MRPC, RTE and STS-B begin with its
        model.
    baselines
        Train two other children of about as many parameters in the same way: one of BERT's layers
        in turns, and a random one.
    pretrain_steps
        Optimizer steps of a child's pre-training, from new weights.
    pretrain_learning_rate
        The peak of its learning rate; by default that of the supernet.
    pretrain_save_every
        Steps between its checkpoints.
    fine_tune_learning_rate
        The peak of a fine-tuning's learning rate; for models of BERT's size RoBERTa takes 1e-5 to
        3e-5.
    fine_tune_batch_size
        Texts in a step of it.
    fine_tune_epochs
        Its passes through the data.
    fine_tune_seeds
        Each fine-tuning is done with every one of them.
    """

    bert: BertSettings
    supernet: Supernet
    search: Search
    teaching: Teacher = field(default_factory=Teacher)
    data: Path
    output: Path = Path("runs/glue")
    tasks: tuple[str, ...] = ("CoLA", "SST-2", "MRPC", "STS-B", "RTE")
    baselines: bool = False
    pretrain_steps: int = PretrainSettings.steps
    pretrain_learning_rate: float | None = None
    pretrain_save_every: int = PretrainSettings.save_every
    fine_tune_learning_rate: float = 1e-3
    fine_tune_batch_size: int = 32
    fine_tune_epochs: int = 3
    fine_tune_seeds: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        check_kinds(self)
        check_choice("params", self.bert.params, (None,))
        check_choice("strategy", self.supernet.strategy, METHODS)
        self.supernet.settings_for(self.bert)
        self.bert.check_warmup(epochs=self.bert.epochs)
        for name in ("devices", "nodes"):  # the later stages are trained by one process
            check_choice(name, getattr(self.bert, name), ("auto", 1, "1"))
        for name in ("tasks", "fine_tune_seeds"):
            given = getattr(self, name)
            if not given or len(set(given)) < len(given):
                raise ValueError(f"{name} is {given!r}; accepted are one or more, none twice")
        if self.pretrain_learning_rate is not None:
            check_number("pretrain_learning_rate", self.pretrain_learning_rate, above=0)
        check_number("fine_tune_learning_rate", self.fine_tune_learning_rate, above=0)
        for name in (
            "pretrain_steps", "pretrain_save_every", "fine_tune_batch_size", "fine_tune_epochs"
        ):  # fmt: skip
            check_count(name, getattr(self, name))
        for seed in self.fine_tune_seeds:
            check_count("fine_tune_seeds", seed, at_least=0, at_most=2**32 - 1)
        with naming("fine_tune"):
            self.fine_tuning(Path(), "RTE", self.fine_tune_seeds[0])

    @property
    def task(self) -> BertSettings:
        """Settings of the supernet's training, on one device."""
        return dataclasses.replace(self.bert, devices=1)

    def pretraining(
        self, model: Path, output: Path, *, taught: bool = False
    ) -> PretrainSettings:
        """Settings of the pre-training of a child, with the teacher or without."""
        bert, rate = self.bert, self.pretrain_learning_rate
        return PretrainSettings(
            model=model, output=output, corpus=bert.corpus, cache=bert.cache,
            steps=self.pretrain_steps, batch_size=bert.batch_size, accumulate=bert.accumulate,
            learning_rate=bert.learning_rate if rate is None else rate,
            weight_decay=bert.weight_decay, save_every=self.pretrain_save_every,
            evaluate_every=self.pretrain_save_every, workers=bert.workers, seed=bert.seed,
            teaching=self.teaching if taught else Teacher(),
        )  # fmt: skip

    def fine_tuning(
        self, model: Path, dataset: str, seed: int, output: Path = Path(), mnli: Path | None = None
    ) -> FineTuneSettings:
        """Settings of a fine-tuning."""
        return FineTuneSettings(
            model=model, data=self.data, dataset=dataset, output=output, mnli=mnli, seed=seed,
            learning_rate=self.fine_tune_learning_rate, batch_size=self.fine_tune_batch_size,
            epochs=self.fine_tune_epochs,
        )  # fmt: skip
