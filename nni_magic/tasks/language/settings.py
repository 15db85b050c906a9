"""Settings of the tasks on text; read without torch or NNI."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self, get_args

from ...support.errors import check_choice, check_count, check_number
from ...support.kinds import fits
from ..settings import TaskSettings

__all__ = ["BertPreset", "BertSettings", "Optimizer", "TextSettings"]

BertPreset = Literal["base", "compression", "analysis", "tiny"]
"""Names in :data:`search_spaces.bert.PRESETS`."""
Optimizer = Literal["adam", "adamw"]
"""Names in :data:`nni_magic.tasks.language.mlm.OPTIMIZERS`."""


@dataclass(frozen=True, kw_only=True)
class TextSettings(TaskSettings):
    """Settings of a masked-language modelling on text.

    Parameters
    ----------
    corpus
        Files, folders, ``sotu`` or ``hf:NAME``; see :mod:`nni_magic.tasks.language.corpus`.
    tokenizer
        A ``tokenizer.json``; by default one is trained.
    optimizer
        ``adamw`` has decoupled weight decay, ``adam`` adds it to the loss as a penalty.
    """

    corpus: tuple[str, ...] = ("sotu",)
    tokenizer: Path | None = None
    optimizer: Optimizer = "adamw"

    def __post_init__(self) -> None:
        check_choice("optimizer", self.optimizer, get_args(Optimizer))
        if not fits(self.corpus, tuple[str, ...]):
            raise ValueError(
                f"corpus is {self.corpus!r}; accepted are one or more of sotu, PATH and hf:NAME"
            )
        super().__post_init__()

    def with_data(self, data: Path) -> Self:
        """Take the text of a file or folder."""
        return dataclasses.replace(self, corpus=(str(data),))


@dataclass(frozen=True, kw_only=True)
class BertSettings(TextSettings):
    """Settings of the BERT space on text.

    Parameters
    ----------
    preset
        The space's size, see :class:`search_spaces.BertSpace`.
    dropout
        Probability, for embeddings, operators and attention.
    params
        Parameters of a child, at most: of those that are trained, and of those that are searched.
    """

    preset: BertPreset = "tiny"
    dropout: float = 0.0
    params: int | None = None

    def __post_init__(self) -> None:
        if self.params is not None:
            check_count("params", self.params)
        check_choice("preset", self.preset, get_args(BertPreset))
        check_number("dropout", self.dropout, at_least=0, below=1)
        super().__post_init__()
